//! Reading without consuming, on a connection of its own: the writer is not kept from its work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::Error;
use super::id;
use super::row::{SELECT_RANGE, StoredMessage};
use super::schema;
use crate::ports::Lag;

/// Up to so many, messages before a cursor are counted one by one; beyond, by subtraction.
const COUNTED: i64 = 50_000;

/// A topic of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Messages in it, settled ones that have not been deleted yet included.
    pub messages: u64,
    /// The last sequence it gave out; 0 when nothing was ever published.
    pub last_seq: u64,
}

/// A consumer group of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// How much it has before it.
    pub lag: Lag,
}

/// The reading connection, opened when first used. Locked for the time of one query, on a blocking thread.
pub(super) struct Reader {
    path: PathBuf,
    conn: Mutex<Option<Connection>>,
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            conn: Mutex::new(None),
        }
    }

    /// Runs a query on a blocking thread.
    pub(super) async fn query<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let reader = Arc::clone(self);
        tokio::task::spawn_blocking(move || reader.query_now(query))
            .await
            .unwrap_or(Err(Error::Closed))
    }

    fn query_now<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut slot = self.conn.lock();
        let conn = match &mut *slot {
            Some(conn) => conn,
            none => none.insert(schema::open_reader(&self.path)?),
        };
        query(conn).map_err(|e| Error::from_sqlite(&self.path, &e))
    }

    /// Closes the connection; a later query opens a new one.
    pub(super) fn close(&self) {
        *self.conn.lock() = None;
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn topic_of(conn: &Connection, name: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    conn.prepare_cached("SELECT id, last_seq FROM topics WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Messages of a topic from a sequence on.
pub(super) fn messages(
    conn: &Connection,
    topic: &str,
    from: u64,
    limit: usize,
) -> rusqlite::Result<Vec<StoredMessage>> {
    let Some((topic, _)) = topic_of(conn, topic)? else {
        return Ok(Vec::new());
    };
    let (first, last) = id::rows_of(topic);
    let Some(from) = i64::try_from(from)
        .ok()
        .filter(|from| *from <= last - first)
    else {
        return Ok(Vec::new());
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(SELECT_RANGE)?
        .query_map([first + from, last, limit], StoredMessage::read)?
        .collect()
}

/// The last sequence a topic gave out, 0 where there is no such topic.
pub(super) fn last_seq(conn: &Connection, topic: &str) -> rusqlite::Result<u64> {
    Ok(topic_of(conn, topic)?.map_or(0, |(_, last)| last.unsigned_abs()))
}

/// All topics, by name.
pub(super) fn topics(conn: &Connection) -> rusqlite::Result<Vec<TopicInfo>> {
    let found: Vec<(i64, String, i64)> = conn
        .prepare_cached("SELECT id, name, last_seq FROM topics ORDER BY name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut count =
        conn.prepare_cached("SELECT count(*) FROM messages WHERE id BETWEEN ?1 AND ?2")?;
    found
        .into_iter()
        .map(|(id, name, last_seq)| {
            let (first, last) = id::rows_of(id);
            let messages: i64 = count.query_row([first, last], |row| row.get(0))?;
            Ok(TopicInfo {
                name,
                messages: messages.unsigned_abs(),
                last_seq: last_seq.unsigned_abs(),
            })
        })
        .collect()
}

/// The groups of a topic, by name.
pub(super) fn groups(conn: &Connection, topic: &str) -> rusqlite::Result<Vec<GroupInfo>> {
    let Some((topic, last_seq)) = topic_of(conn, topic)? else {
        return Ok(Vec::new());
    };
    let found: Vec<(i64, String, i64)> = conn
        .prepare_cached("SELECT id, name, cursor FROM groups WHERE topic = ?1 ORDER BY name")?
        .query_map([topic], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    found
        .into_iter()
        .map(|(group, name, cursor)| {
            Ok(GroupInfo {
                name,
                lag: lag_of(conn, topic, last_seq, group, cursor)?,
            })
        })
        .collect()
}

/// How much one group has before it; zero where topic or group do not exist.
pub(super) fn lag(conn: &Connection, topic: &str, group: &str) -> rusqlite::Result<Lag> {
    let Some((topic, last_seq)) = topic_of(conn, topic)? else {
        return Ok(Lag::default());
    };
    let found: Option<(i64, i64)> = conn
        .prepare_cached("SELECT id, cursor FROM groups WHERE topic = ?1 AND name = ?2")?
        .query_row(params![topic, group], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        Some((group, cursor)) => lag_of(conn, topic, last_seq, group, cursor),
        None => Ok(Lag::default()),
    }
}

fn lag_of(
    conn: &Connection,
    topic: i64,
    last_seq: i64,
    group: i64,
    cursor: i64,
) -> rusqlite::Result<Lag> {
    let (delivered, never): (i64, i64) = conn
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE deliveries > 0), count(*) FILTER (WHERE deliveries = 0)
             FROM pending WHERE grp = ?1",
        )?
        .query_row([group], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let ahead = last_seq - cursor;
    let new: i64 = if ahead <= COUNTED {
        conn.prepare_cached(
            "SELECT count(*) FROM messages WHERE id > ?1 AND id <= ?2 AND apart = 0",
        )?
        .query_row([id::row(topic, cursor), id::row(topic, last_seq)], |row| {
            row.get(0)
        })?
    } else {
        let apart: i64 = conn
            .prepare_cached("SELECT count(*) FROM pending WHERE grp = ?1 AND seq > ?2")?
            .query_row([group, cursor], |row| row.get(0))?;
        ahead - apart
    };
    Ok(Lag {
        waiting: (new + never).unsigned_abs(),
        pending: delivered.unsigned_abs(),
    })
}
