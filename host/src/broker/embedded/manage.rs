//! What the commands do to a topic: delete, purge, move. Each is one transaction.

use std::collections::HashSet;

use rusqlite::Connection;

use super::id;
use super::job::Operation;
use super::ledger::{GroupAt, Ledger};
use super::publish;
use super::row::Row;

/// Removes messages and every group's claim to them. Answers which of them were there.
pub(super) struct Delete {
    pub(super) topic: String,
    pub(super) seqs: Vec<i64>,
}

impl Operation for Delete {
    type Output = Vec<bool>;

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<Vec<bool>> {
        let Some(topic) = ledger.find_topic(&self.topic) else {
            return Ok(vec![false; self.seqs.len()]);
        };
        self.seqs
            .iter()
            .map(|seq| remove(ledger, topic, *seq))
            .collect()
    }
}

fn remove(ledger: &Ledger, topic: usize, seq: i64) -> rusqlite::Result<bool> {
    let topic = ledger.topic(topic);
    let removed = ledger
        .sql("DELETE FROM messages WHERE id = ?1")?
        .execute([id::row(topic.id, seq)])?;
    for group in &topic.groups {
        ledger
            .sql("DELETE FROM pending WHERE grp = ?1 AND seq = ?2")?
            .execute([group.id, seq])?;
    }
    Ok(removed == 1)
}

/// Moves messages: each leaves its topic and enters another in the same transaction, so that it is never nowhere and
/// always in exactly one place. Answers which of them were still there to be moved.
pub(super) struct Move {
    pub(super) from: String,
    /// What goes, and what it is to be from then on.
    pub(super) moves: Vec<(i64, Row)>,
}

impl Operation for Move {
    type Output = Vec<bool>;

    fn weight(&self) -> usize {
        self.moves.iter().map(|(_, row)| row.weight()).sum()
    }

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<Vec<bool>> {
        let Some(from) = ledger.find_topic(&self.from) else {
            return Ok(vec![false; self.moves.len()]);
        };
        self.moves
            .iter()
            .map(|(seq, row)| {
                let there = remove(ledger, from, *seq)?;
                if there {
                    publish::insert(ledger, row)?;
                }
                Ok(there)
            })
            .collect()
    }
}

/// Empties a topic. Groups stay and go on after its last sequence. Answers how many messages there were.
pub(super) struct Purge {
    pub(super) topic: String,
}

impl Operation for Purge {
    type Output = u64;

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<u64> {
        let Some(topic) = ledger.find_topic(&self.topic) else {
            return Ok(0);
        };
        let (topic_id, last_seq) = (ledger.topic(topic).id, ledger.topic(topic).last_seq);
        let (first, last) = id::rows_of(topic_id);
        let removed = ledger
            .sql("DELETE FROM messages WHERE id BETWEEN ?1 AND ?2")?
            .execute([first, last])?;
        for group in 0..ledger.topic(topic).groups.len() {
            let at = GroupAt { topic, group };
            ledger
                .sql("DELETE FROM pending WHERE grp = ?1")?
                .execute([ledger.group(at).id])?;
            ledger.set_cursor(at, last_seq);
        }
        Ok(removed as u64)
    }
}

/// Deletes settled messages that no group has a claim to, from a sorted list of row ids.
pub(super) fn reap(ledger: &Ledger, rows: &[i64]) -> rusqlite::Result<()> {
    for run in rows.chunk_by(|a, b| *b == *a + 1) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        let Some(at) = ledger.find_topic_by_id(id::topic(*first)) else {
            continue;
        };
        if ledger.topic(at).groups.len() == 1 {
            // Settled by the only group there is. Ids that follow each other are deleted by one statement.
            ledger
                .sql("DELETE FROM messages WHERE id BETWEEN ?1 AND ?2")?
                .execute([*first, *last])?;
        } else {
            delete_unclaimed(&ledger.conn, *first, *last, i64::MAX)?;
        }
    }
    Ok(())
}

/// Deletes, between two row ids of one topic, what was published before `cutoff` and what every group that was there
/// to read it has settled. What is older than all groups is nobody's and stays, like a topic without groups.
pub(super) fn delete_unclaimed(
    conn: &Connection,
    first: i64,
    last: i64,
    cutoff: i64,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM messages WHERE id BETWEEN ?1 AND ?2 AND published_ms < ?3
           AND EXISTS (SELECT 1 FROM groups g WHERE g.topic = ?4 AND g.start < messages.id - ?5)
           AND NOT EXISTS (
             SELECT 1 FROM groups g WHERE g.topic = ?4 AND g.start < messages.id - ?5
               AND ((messages.apart = 0 AND g.cursor < messages.id - ?5)
                 OR EXISTS (SELECT 1 FROM pending p WHERE p.grp = g.id AND p.seq = messages.id - ?5)))",
    )?
    .execute([
        first,
        last,
        cutoff,
        id::topic(first),
        id::rows_of(id::topic(first)).0,
    ])
}

/// The topics that have groups.
pub(super) fn consumed_topics(conn: &Connection) -> rusqlite::Result<Vec<i64>> {
    let topics: HashSet<i64> = conn
        .prepare_cached("SELECT topic FROM groups")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(topics.into_iter().collect())
}
