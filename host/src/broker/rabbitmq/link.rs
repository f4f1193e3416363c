//! When a connection is made again, and what is declared on it then.
//!
//! The client's own recovery is not used: it says nothing while it works, gives up after sixteen tries, and after an
//! error of a channel (a consumer that was too slow, say) it leaves a stream that neither ends nor delivers. Here any
//! error, and any stream that ends, takes the connection down as a whole; the next one is a new epoch
//! ([`ledger`](super::ledger)).
//!
//! A stream that ends without an error is no end of work: the server cancels a consumer whose queue was deleted, or
//! whose node went away, and the connection stays up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::declare::Declaration;
use super::step::Tier;
use super::wire::short;

/// Whether waiting is likely to help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It is away, or busy: soon.
    Soon,
    /// Somebody has to change something there: seldom, so that it is seen when they have.
    Seldom,
}

/// What a reply code of the server's asks for. The codes that somebody has to act on: no such virtual host (402), refused
/// (403), not found (404), in use by another (405), exists with other arguments (406), not allowed (530).
pub(super) fn pace(reply_code: Option<u16>) -> Pace {
    match reply_code {
        Some(402..=406 | 530) => Pace::Seldom,
        _ => Pace::Soon,
    }
}

/// How long until the next try: doubles from `least` to `most`, with up to half of it taken off at random, so that hosts
/// do not all come at once.
#[derive(Debug, Clone)]
pub(super) struct Tries {
    least: Duration,
    most: Duration,
    failed: u32,
    /// In a row that wait for somebody to change something.
    seldom: u32,
}

impl Tries {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            failed: 0,
            seldom: 0,
        }
    }

    /// It works. To be called once something came by the connection: one that is lost as soon as it is made has not worked.
    pub(super) fn worked(&mut self) {
        self.failed = 0;
        self.seldom = 0;
    }

    /// It failed; `dice` is from 0 to 1. What somebody has to change is asked for after `most` at first, and after up to
    /// eight times as long: the server logs each time as an error.
    pub(super) fn failed(&mut self, pace: Pace, dice: f64) -> Duration {
        let full = match pace {
            Pace::Seldom => self.most.saturating_mul(1 << self.seldom.min(3)),
            Pace::Soon => {
                let factor = 1_u32 << self.failed.min(16);
                self.least.saturating_mul(factor).min(self.most)
            }
        };
        self.seldom = match pace {
            Pace::Seldom => self.seldom.saturating_add(1),
            Pace::Soon => 0,
        };
        self.failed = self.failed.saturating_add(1);
        full.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0)
    }
}

/// The queues of a subscription's own.
#[derive(Debug)]
pub(super) struct Own {
    /// `retry.{subscription}.{plugin}`, which is read beside the source.
    pub(super) retry: Arc<str>,
    quorum: bool,
    /// Holding queues that are known to be there: this host has put something into them, or has got something from them.
    used: BTreeSet<Tier>,
}

/// The name of a subscription's own queue. How the names of its holding queues begin, too.
pub fn retry_queue(subscription: &str, plugin: &str) -> String {
    format!("retry.{subscription}.{plugin}")
}

impl Own {
    /// `None` where the names are too long for a queue's.
    pub(super) fn new(subscription: &str, plugin: &str, quorum: bool) -> Option<Self> {
        let retry = retry_queue(subscription, plugin);
        short(&format!("{retry}.{}", u32::MAX))?;
        Some(Self {
            retry: retry.into(),
            quorum,
            used: BTreeSet::new(),
        })
    }

    /// The queue that is read beside the source.
    pub(super) fn source(&self) -> Declaration {
        Declaration {
            name: self.named(&self.retry),
            arguments: kind(self.quorum),
        }
    }

    /// The holding queue of a tier. It is a quorum queue whatever the others are: a classic queue forgets what it
    /// dead-letters before the other queue has it, and a server that dies in between has lost it.
    pub(super) fn holding(&self, tier: Tier) -> Declaration {
        let mut arguments = kind(true);
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut put = |name: &str, value| {
            arguments.insert(name.into(), value);
        };
        put("x-message-ttl", AMQPValue::LongLongInt(tier.0.into()));
        put("x-dead-letter-exchange", text(""));
        put("x-dead-letter-routing-key", text(&self.retry));
        // Confirmed by the other queue before it is gone from this one; the server allows it only where a full queue
        // refuses.
        put("x-dead-letter-strategy", text("at-least-once"));
        put("x-overflow", text("reject-publish"));
        Declaration {
            name: self.named(&format!("{}.{}", self.retry, tier.0)),
            arguments,
        }
    }

    /// A holding queue is there.
    pub(super) fn used(&mut self, tier: Tier) {
        self.used.insert(tier);
    }

    /// Those that are known to be there.
    pub(super) fn tiers(&self) -> impl Iterator<Item = Tier> {
        self.used.iter().copied()
    }

    /// It is there no longer.
    pub(super) fn gone(&mut self, tier: Tier) {
        self.used.remove(&tier);
    }

    fn named(&self, name: &str) -> ShortString {
        // `new` saw to the length.
        short(name).unwrap_or_default()
    }
}

/// The arguments that every queue of the host's own has.
fn kind(quorum: bool) -> FieldTable {
    let mut arguments = FieldTable::default();
    let kind = if quorum { "quorum" } else { "classic" };
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    if quorum {
        // From 4.0 on 20 unless told otherwise, and then the message is dropped. The host counts by itself.
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(LIMIT));
    }
    arguments
}

/// A queue of dead letters, where the configuration does not declare it. `None` where the name is too long.
pub(super) fn dead_letters(name: &str, quorum: bool) -> Option<Declaration> {
    Some(Declaration {
        name: short(name)?,
        arguments: kind(quorum),
    })
}

/// Above `max_deliveries` of any plugin that means to count.
const LIMIT: i64 = 1_000_000;

#[cfg(test)]
mod tests;
