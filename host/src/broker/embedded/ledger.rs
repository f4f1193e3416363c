//! What an operation works on: the connection, and what is remembered of topics and groups between transactions.
//!
//! All topics and groups are in memory; sequences and cursors are written back once per transaction, not once per
//! message. That holds until another process commits something, which `PRAGMA data_version` tells at the start of every
//! transaction, or until a transaction is undone: then all of it is read again.

use std::collections::HashMap;

use bytestring::ByteString;
use rusqlite::{CachedStatement, Connection, params};

/// A consumer group of a topic.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) id: i64,
    pub(super) name: ByteString,
    /// It has taken all that is not apart up to here.
    pub(super) cursor: i64,
    changed: bool,
}

/// A topic and its groups.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) id: i64,
    pub(super) name: ByteString,
    pub(super) last_seq: i64,
    pub(super) groups: Vec<Group>,
    changed: bool,
    /// Something in it may be ready that was not before this transaction.
    stirred: bool,
}

/// Where a group is in [`Ledger`]: valid within one transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupAt {
    pub(super) topic: usize,
    pub(super) group: usize,
}

/// The connection and what is known of its content.
pub(super) struct Ledger {
    pub(super) conn: Connection,
    /// Now, milliseconds since 1970, read once per transaction.
    pub(super) now: i64,
    topics: Vec<Topic>,
    by_name: HashMap<ByteString, usize>,
    by_id: HashMap<i64, usize>,
    data_version: i64,
    /// Row ids settled in this transaction, for the reaper. Emptied by whoever began the transaction.
    pub(super) settled: Vec<i64>,
    /// Alternates the order in which a subscription's two topics are asked.
    pub(super) turn: bool,
}

impl Ledger {
    pub(super) fn new(conn: Connection) -> Self {
        Self {
            conn,
            now: 0,
            topics: Vec::new(),
            by_name: HashMap::new(),
            by_id: HashMap::new(),
            data_version: -1,
            settled: Vec::new(),
            turn: false,
        }
    }

    /// A statement, prepared once.
    pub(super) fn sql(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.conn.prepare_cached(sql)
    }

    /// At the start of a transaction: takes up what other processes have written since the last one.
    pub(super) fn begin(&mut self, now: i64) -> rusqlite::Result<()> {
        self.now = now;
        let version = self.data_version()?;
        if version != self.data_version {
            self.reload()?;
            self.data_version = version;
        }
        Ok(())
    }

    /// SQLite's number for what others have committed.
    pub(super) fn data_version(&self) -> rusqlite::Result<i64> {
        self.sql("PRAGMA data_version")?
            .query_row([], |row| row.get(0))
    }

    /// Whether another process has written since the last transaction here.
    pub(super) fn foreign_news(&self) -> rusqlite::Result<bool> {
        Ok(self.data_version()? != self.data_version)
    }

    /// After an undone transaction: what is remembered may not be true.
    pub(super) fn forget(&mut self) {
        self.topics.clear();
        self.by_name.clear();
        self.by_id.clear();
        self.settled.clear();
        self.data_version = -1;
    }

    /// Writes back sequences and cursors, before the commit.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        let mut topic_sql = self
            .conn
            .prepare_cached("UPDATE topics SET last_seq = ?2 WHERE id = ?1")?;
        let mut group_sql = self
            .conn
            .prepare_cached("UPDATE groups SET cursor = ?2 WHERE id = ?1")?;
        for topic in &mut self.topics {
            if std::mem::take(&mut topic.changed) {
                topic_sql.execute([topic.id, topic.last_seq])?;
            }
            for group in &mut topic.groups {
                if std::mem::take(&mut group.changed) {
                    group_sql.execute([group.id, group.cursor])?;
                }
            }
        }
        Ok(())
    }

    /// After the commit: the topics in which something may be ready now.
    pub(super) fn take_stirred(&mut self, mut each: impl FnMut(&str)) {
        for topic in &mut self.topics {
            if std::mem::take(&mut topic.stirred) {
                each(&topic.name);
            }
        }
    }

    /// Something in this topic may be ready that was not before.
    pub(super) fn stir(&mut self, topic: usize) {
        self.topics[topic].stirred = true;
    }

    /// The topic of that index.
    pub(super) fn topic(&self, at: usize) -> &Topic {
        &self.topics[at]
    }

    /// The group at that place.
    pub(super) fn group(&self, at: GroupAt) -> &Group {
        &self.topics[at.topic].groups[at.group]
    }

    /// Moves a group's cursor.
    pub(super) fn set_cursor(&mut self, at: GroupAt, cursor: i64) {
        let group = &mut self.topics[at.topic].groups[at.group];
        if group.cursor != cursor {
            group.cursor = cursor;
            group.changed = true;
        }
    }

    /// The next sequence of a topic.
    pub(super) fn next_seq(&mut self, topic: usize) -> i64 {
        let topic = &mut self.topics[topic];
        topic.last_seq += 1;
        topic.changed = true;
        topic.stirred = true;
        topic.last_seq
    }

    /// Finds a topic by name.
    pub(super) fn find_topic(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Finds a topic by id.
    pub(super) fn find_topic_by_id(&self, id: i64) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Finds a topic or makes it.
    pub(super) fn topic_named(&mut self, name: &str) -> rusqlite::Result<usize> {
        if let Some(at) = self.find_topic(name) {
            return Ok(at);
        }
        self.sql("INSERT INTO topics (name, last_seq) VALUES (?1, 0)")?
            .execute([name])?;
        let id = self.conn.last_insert_rowid();
        Ok(self.remember(id, name.into(), 0))
    }

    /// Finds a group of a topic.
    pub(super) fn find_group(&self, topic: usize, name: &str) -> Option<GroupAt> {
        self.topics[topic]
            .groups
            .iter()
            .position(|group| group.name == name)
            .map(|group| GroupAt { topic, group })
    }

    /// Finds a group or makes it. One made from the start finds everything the topic still has before it.
    pub(super) fn group_named(
        &mut self,
        topic: usize,
        name: &str,
        from_start: bool,
    ) -> rusqlite::Result<GroupAt> {
        if let Some(at) = self.find_group(topic, name) {
            return Ok(at);
        }
        let (topic_id, last_seq) = (self.topics[topic].id, self.topics[topic].last_seq);
        // What is older than its start is none of its business.
        let start = if from_start { 0 } else { last_seq };
        self.sql("INSERT INTO groups (topic, name, start, cursor) VALUES (?1, ?2, ?3, ?3)")?
            .execute(params![topic_id, name, start])?;
        let id = self.conn.last_insert_rowid();
        if from_start {
            let (first, last) = super::id::rows_of(topic_id);
            self.sql(
                "INSERT INTO pending (grp, seq, state, due_ms, deliveries, attempts, priority)
                 SELECT ?1, id - ?2, CASE WHEN due_ms > ?4 THEN 1 ELSE 2 END,
                        CASE WHEN due_ms > ?4 THEN due_ms END, 0, 0, coalesce(priority, 0)
                 FROM messages WHERE id BETWEEN ?2 AND ?3 AND apart = 1",
            )?
            .execute(params![id, first, last, self.now])?;
        }
        let groups = &mut self.topics[topic].groups;
        groups.push(Group {
            id,
            name: name.into(),
            cursor: start,
            changed: false,
        });
        Ok(GroupAt {
            topic,
            group: groups.len() - 1,
        })
    }

    /// Reads all topics and groups. Those that have moved since they were last known may have something new.
    fn reload(&mut self) -> rusqlite::Result<()> {
        let topics = self
            .sql("SELECT id, name, last_seq FROM topics")?
            .query_map([], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, String, i64)>>>()?;
        let groups = self
            .sql("SELECT topic, id, name, cursor FROM groups")?
            .query_map([], |row| {
                let group = Group {
                    id: row.get(1)?,
                    name: row.get::<_, String>(2)?.into(),
                    cursor: row.get(3)?,
                    changed: false,
                };
                Ok((row.get(0)?, group))
            })?
            .collect::<rusqlite::Result<Vec<(i64, Group)>>>()?;
        let before: HashMap<ByteString, i64> = self
            .topics
            .drain(..)
            .map(|topic| (topic.name, topic.last_seq))
            .collect();
        self.by_name.clear();
        self.by_id.clear();
        for (id, name, last_seq) in topics {
            let at = self.remember(id, name.into(), last_seq);
            let topic = &mut self.topics[at];
            topic.stirred = before.get(&topic.name) != Some(&last_seq);
        }
        for (topic, group) in groups {
            if let Some(at) = self.find_topic_by_id(topic) {
                self.topics[at].groups.push(group);
            }
        }
        Ok(())
    }

    fn remember(&mut self, id: i64, name: ByteString, last_seq: i64) -> usize {
        let at = self.topics.len();
        self.by_name.insert(name.clone(), at);
        self.by_id.insert(id, at);
        self.topics.push(Topic {
            id,
            name,
            last_seq,
            groups: Vec::new(),
            changed: false,
            stirred: false,
        });
        at
    }
}
