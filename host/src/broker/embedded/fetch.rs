//! Fetching: what is ready again first, then what is new, and a `pending` row for each that was handed out.
//!
//! A message is counted as delivered in the transaction that hands it out, so one that kills its host is noticed.
//! That transaction is not synchronised to the disk: what a power loss undoes is delivered again anyway.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};

use super::id::{self, Claim, Leg};
use super::job::{Job, Operation, ask};
use super::ledger::{GroupAt, Ledger};
use super::row::{SELECT_NEW, SELECT_ONE, StoredMessage};
use super::settle::{SettleUnits, Unit};
use super::source::Subscription;
use crate::commit::Settlement;
use crate::delivery::Token;
use crate::ports::Room;

/// One message handed out.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) token: Token,
    pub(super) leg: Leg,
    pub(super) stored: StoredMessage,
    pub(super) attempts: u32,
    pub(super) first_failed_ms: Option<u64>,
    pub(super) deliveries: u32,
}

/// What a fetch found.
#[derive(Debug, Default)]
pub(super) struct Catch {
    pub(super) messages: Vec<Fetched>,
    /// When the next delayed message is due, milliseconds from now; only where nothing was found.
    pub(super) next_due_in: Option<u64>,
}

/// Takes messages for a subscription.
pub(super) struct Fetch {
    pub(super) subscription: Arc<Subscription>,
    pub(super) room: Room,
}

impl Operation for Fetch {
    type Output = Catch;

    fn durable(&self) -> bool {
        false
    }

    fn weight(&self) -> usize {
        // Reading weighs less than writing, but a transaction should not hand out without end.
        self.room.messages.min(1024) * 32
    }

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<Catch> {
        let mut net = Net {
            room: self.room,
            ordered: self.subscription.spec.ordered,
            leg: Leg::Main,
            caught: Vec::new(),
        };
        // Neither of the two topics can starve the other.
        ledger.turn = !ledger.turn;
        let legs = if ledger.turn {
            [Leg::Main, Leg::Retry]
        } else {
            [Leg::Retry, Leg::Main]
        };
        let mut next_due: Option<i64> = None;
        for leg in legs {
            let Some(at) = self.subscription.find_or_join(ledger, leg)? else {
                continue;
            };
            net.leg = leg;
            net.pull(ledger, at)?;
            let due = next_due_of(ledger, ledger.group(at).id)?;
            next_due = [next_due, due].into_iter().flatten().min();
        }
        Ok(Catch {
            next_due_in: next_due
                .filter(|_| net.caught.is_empty())
                .map(|due| due.saturating_sub(ledger.now).max(1).unsigned_abs()),
            messages: net.caught,
        })
    }

    fn take_back(&self, catch: Catch) -> Option<Box<dyn Job>> {
        give_back(&self.subscription, catch.messages.into_iter())
    }
}

/// A job that releases what was handed out and never seen by anybody. Its count stays.
pub(super) fn give_back(
    subscription: &Arc<Subscription>,
    messages: impl Iterator<Item = Fetched>,
) -> Option<Box<dyn Job>> {
    let units: Vec<Unit> = messages
        .map(|fetched| Unit {
            token: fetched.token,
            settlement: Settlement::Release {
                after: None,
                attempts: fetched.attempts,
                first_failed_ms: fetched.first_failed_ms,
            },
            rows: Vec::new(),
        })
        .collect();
    (!units.is_empty()).then(|| {
        ask(SettleUnits {
            subscription: Arc::clone(subscription),
            units,
            durable: false,
        })
        .0
    })
}

fn next_due_of(ledger: &Ledger, group: i64) -> rusqlite::Result<Option<i64>> {
    ledger
        .sql("SELECT min(due_ms) FROM pending WHERE grp = ?1 AND state = 1")?
        .query_row([group], |row| row.get(0))
}

/// What is kept of a message that is ready again.
struct Ready {
    seq: i64,
    deliveries: i64,
    /// Deliveries that ended in a release.
    released: i64,
    attempts: u32,
    first_failed_ms: Option<i64>,
}

impl Ready {
    /// A first delivery.
    fn first(seq: i64) -> Self {
        Self {
            seq,
            deliveries: 1,
            released: 0,
            attempts: 0,
            first_failed_ms: None,
        }
    }
}

/// What has been taken, and how much room is left.
struct Net {
    room: Room,
    ordered: bool,
    leg: Leg,
    caught: Vec<Fetched>,
}

impl Net {
    fn full(&self) -> bool {
        self.room.messages == 0 || self.room.bytes == 0
    }

    /// Catches a message with what is kept of it.
    fn keep(&mut self, stored: StoredMessage, kept: &Ready) {
        self.room.messages -= 1;
        self.room.bytes = self.room.bytes.saturating_sub(stored.size());
        self.caught.push(Fetched {
            token: Claim {
                leg: self.leg,
                seq: kept.seq,
                deliveries: kept.deliveries,
            }
            .token(),
            leg: self.leg,
            stored,
            attempts: kept.attempts,
            first_failed_ms: kept.first_failed_ms.map(i64::cast_unsigned),
            // Released ones do not count: only those without an outcome may be what stops hosts.
            deliveries: u32::try_from(kept.deliveries - kept.released).unwrap_or(u32::MAX),
        });
    }

    /// Takes from one topic for one group.
    fn pull(&mut self, ledger: &mut Ledger, at: GroupAt) -> rusqlite::Result<()> {
        if self.full() {
            return Ok(());
        }
        let group = ledger.group(at).id;
        ledger
            .sql("UPDATE pending SET state = 2, due_ms = NULL WHERE grp = ?1 AND state = 1 AND due_ms <= ?2")?
            .execute([group, ledger.now])?;
        // Order: nothing newer than a message that was released and is not due yet.
        let barrier = if self.ordered {
            released_and_waiting(ledger, group)?
        } else {
            None
        };
        let mut ready = self.ready(ledger, group, barrier)?.into_iter().peekable();
        if !self.ordered {
            for message in ready.by_ref() {
                self.take_ready(ledger, at, message)?;
            }
        }
        if barrier.is_none() {
            self.take_new(ledger, at, &mut ready)?;
        }
        for message in ready {
            self.take_ready(ledger, at, message)?;
        }
        Ok(())
    }

    /// What is ready, in the order it is to be delivered, no more than there is room for.
    fn ready(
        &self,
        ledger: &Ledger,
        group: i64,
        barrier: Option<i64>,
    ) -> rusqlite::Result<Vec<Ready>> {
        let mut sql = if self.ordered {
            ledger.sql(
                "SELECT seq, deliveries, attempts, released, first_failed_ms FROM pending
                 WHERE grp = ?1 AND state = 2 AND seq < ?3 ORDER BY seq LIMIT ?2",
            )?
        } else {
            ledger.sql(
                "SELECT seq, deliveries, attempts, released, first_failed_ms FROM pending
                 WHERE grp = ?1 AND state = 2 AND seq < ?3 ORDER BY priority DESC, seq LIMIT ?2",
            )?
        };
        let limit = i64::try_from(self.room.messages).unwrap_or(i64::MAX);
        sql.query_map([group, limit, barrier.unwrap_or(i64::MAX)], |row| {
            Ok(Ready {
                seq: row.get(0)?,
                deliveries: row.get(1)?,
                attempts: row.get(2)?,
                released: row.get(3)?,
                first_failed_ms: row.get(4)?,
            })
        })?
        .collect()
    }

    fn take_ready(
        &mut self,
        ledger: &mut Ledger,
        at: GroupAt,
        mut ready: Ready,
    ) -> rusqlite::Result<()> {
        if self.full() {
            return Ok(());
        }
        let (topic, group) = (ledger.topic(at.topic).id, ledger.group(at).id);
        let stored = ledger
            .sql(SELECT_ONE)?
            .query_row([id::row(topic, ready.seq)], StoredMessage::read)
            .optional()?;
        let Some(stored) = stored else {
            // Deleted by hand: there is nothing left to deliver.
            ledger
                .sql("DELETE FROM pending WHERE grp = ?1 AND seq = ?2")?
                .execute([group, ready.seq])?;
            return Ok(());
        };
        ready.deliveries += 1;
        ledger
            .sql("UPDATE pending SET state = 0, deliveries = ?3 WHERE grp = ?1 AND seq = ?2")?
            .execute([group, ready.seq, ready.deliveries])?;
        self.keep(stored, &ready);
        Ok(())
    }

    /// Takes what the cursor has not passed; where order counts, what is ready takes its place between.
    fn take_new(
        &mut self,
        ledger: &mut Ledger,
        at: GroupAt,
        ready: &mut std::iter::Peekable<std::vec::IntoIter<Ready>>,
    ) -> rusqlite::Result<()> {
        let (topic, last_seq) = (ledger.topic(at.topic).id, ledger.topic(at.topic).last_seq);
        let (group, mut cursor) = (ledger.group(at).id, ledger.group(at).cursor);
        while !self.full() && cursor < last_seq {
            // At most a chunk at a time, so that reading stops soon after the room for bytes is used up.
            let chunk = self.room.messages.min(256);
            let (found, exhausted) =
                new_after(ledger, topic, cursor, last_seq, (chunk, self.room.bytes))?;
            for stored in found {
                let seq = stored.seq.cast_signed();
                while let Some(before) = ready.next_if(|r| self.ordered && r.seq < seq) {
                    self.take_ready(ledger, at, before)?;
                }
                if self.full() {
                    ledger.set_cursor(at, cursor);
                    return Ok(());
                }
                ledger
                    .sql(
                        "INSERT INTO pending (grp, seq, state, due_ms, deliveries, attempts, priority)
                         VALUES (?1, ?2, 0, NULL, 1, 0, ?3)",
                    )?
                    .execute(params![group, seq, stored.priority.unwrap_or(0)])?;
                cursor = seq;
                self.keep(stored, &Ready::first(seq));
            }
            if exhausted {
                cursor = last_seq;
            }
        }
        ledger.set_cursor(at, cursor);
        Ok(())
    }
}

fn released_and_waiting(ledger: &Ledger, group: i64) -> rusqlite::Result<Option<i64>> {
    ledger
        .sql("SELECT min(seq) FROM pending WHERE grp = ?1 AND state = 1 AND deliveries > 0")?
        .query_row([group], |row| row.get(0))
}

/// Messages after the cursor, until `limit` messages or bytes are reached, and whether those were all.
fn new_after(
    ledger: &Ledger,
    topic: i64,
    cursor: i64,
    last_seq: i64,
    limit: (usize, usize),
) -> rusqlite::Result<(Vec<StoredMessage>, bool)> {
    let mut sql = ledger.sql(SELECT_NEW)?;
    let mut rows = sql.query([id::row(topic, cursor), id::row(topic, last_seq)])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let stored = StoredMessage::read(row)?;
        bytes += stored.size();
        found.push(stored);
        if found.len() >= limit.0 || bytes >= limit.1 {
            return Ok((found, false));
        }
    }
    Ok((found, true))
}
