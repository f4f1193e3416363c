//! Deletes what every group has settled, off the hot path.
//!
//! Settling only notes a message's row id. Noted messages are deleted in a transaction of their own, which nobody waits
//! for: when nothing else is to be done, when some thousand are noted, and a few times a second under any load, so that
//! a full disk gets room whatever else goes on. The notes are lost with the process, so an owner starts with one pass
//! over all topics that have groups, a thousand rows at a time. With a retention there are no notes: passes over the
//! file, every few seconds, delete what is old enough.

use super::id;
use super::ledger::Ledger;
use super::manage::{consumed_topics, delete_unclaimed, reap};

/// Notes after which deleting does not wait for an idle moment.
const MANY: usize = 2048;
/// Rows one step of a pass looks at.
const STEP: i64 = 1000;
/// Between two steps while there is other work.
const INTERVAL_MS: i64 = 200;

/// What is to be deleted, and how far a pass has come.
pub(super) struct Reaper {
    retention_ms: Option<i64>,
    /// Row ids of settled messages. Bounded by `MANY` and one batch.
    noted: Vec<i64>,
    /// Topics the current pass has still to visit, the last one first, with the row id it continues at.
    pass: Vec<(i64, i64)>,
    /// When the next pass starts, milliseconds since 1970. `None`: never again.
    next_pass: Option<i64>,
    /// When the last step was made: deleting gets on under load as well, a few steps a second.
    last_step: i64,
}

impl Reaper {
    pub(super) fn new(retention_ms: Option<i64>) -> Self {
        Self {
            retention_ms,
            noted: Vec::new(),
            pass: Vec::new(),
            next_pass: Some(0),
            last_step: 0,
        }
    }

    /// Takes over what a committed transaction settled.
    pub(super) fn note(&mut self, settled: &mut Vec<i64>) {
        if self.retention_ms.is_none() {
            self.noted.append(settled);
        } else {
            settled.clear();
        }
    }

    /// Whether there is something to delete now.
    pub(super) fn wants(&self, now: i64, idle: bool) -> bool {
        let work = !self.noted.is_empty()
            || !self.pass.is_empty()
            || self.next_pass.is_some_and(|at| at <= now);
        work && (idle || self.noted.len() >= MANY || now - self.last_step >= INTERVAL_MS)
    }

    /// One step, inside a transaction.
    pub(super) fn step(&mut self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.last_step = ledger.now;
        self.noted.sort_unstable();
        reap(ledger, &self.noted)?;
        if self.pass.is_empty() && self.next_pass.is_some_and(|at| at <= ledger.now) {
            self.pass = consumed_topics(&ledger.conn)?
                .into_iter()
                .map(|topic| (topic, id::rows_of(topic).0))
                .collect();
            self.next_pass = self
                .retention_ms
                .map(|retention| ledger.now + (retention / 4).clamp(1000, 60_000));
        }
        self.pass_on(ledger)
    }

    fn pass_on(&mut self, ledger: &Ledger) -> rusqlite::Result<()> {
        let Some((topic, from)) = self.pass.pop() else {
            return Ok(());
        };
        let cutoff = self
            .retention_ms
            .map_or(i64::MAX, |retention| ledger.now - retention);
        // Up to the thousandth row from here, or the topic's last.
        let to: Option<i64> = ledger
            .sql(
                "SELECT max(id) FROM (SELECT id FROM messages WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3)",
            )?
            .query_row([from, id::rows_of(topic).1, STEP], |row| row.get(0))?;
        let Some(to) = to else {
            return Ok(());
        };
        delete_unclaimed(&ledger.conn, from, to, cutoff)?;
        // Topics are appended to in the order of time: nothing behind a message that is too young is old enough.
        let old_enough: bool = ledger
            .sql("SELECT NOT EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND published_ms >= ?2)")?
            .query_row([to, cutoff], |row| row.get(0))?;
        if old_enough {
            self.pass.push((topic, to + 1));
        }
        Ok(())
    }

    /// After the step was committed.
    pub(super) fn stepped(&mut self) {
        self.noted.clear();
    }
}
