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
}

impl Tries {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            failed: 0,
        }
    }

    /// It works. To be called once something came by the connection: one that is lost as soon as it is made has not worked.
    pub(super) fn worked(&mut self) {
        self.failed = 0;
    }

    /// It failed; `dice` is from 0 to 1.
    pub(super) fn failed(&mut self, pace: Pace, dice: f64) -> Duration {
        let full = match pace {
            Pace::Seldom => self.most,
            Pace::Soon => {
                let factor = 1_u32 << self.failed.min(16);
                self.least.saturating_mul(factor).min(self.most)
            }
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
    /// Holding queues that were declared on this connection.
    declared: BTreeSet<Tier>,
}

/// A queue to be declared, durable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declaration {
    pub(super) name: ShortString,
    pub(super) arguments: FieldTable,
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
            declared: BTreeSet::new(),
        })
    }

    /// A new connection: holding queues are declared again before they are used, since they may have been deleted.
    pub(super) fn begin(&mut self) {
        self.declared.clear();
    }

    /// The queue that is read beside the source.
    pub(super) fn source(&self) -> Declaration {
        Declaration {
            name: self.named(&self.retry),
            arguments: self.kind(),
        }
    }

    /// The holding queue of a tier.
    pub(super) fn holding(&self, tier: Tier) -> Declaration {
        let mut arguments = self.kind();
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut put = |name: &str, value| {
            arguments.insert(name.into(), value);
        };
        put("x-message-ttl", AMQPValue::LongLongInt(tier.0.into()));
        put("x-dead-letter-exchange", text(""));
        put("x-dead-letter-routing-key", text(&self.retry));
        if self.quorum {
            // Confirmed by the other queue before it is gone from this one; the server allows it only where a full queue
            // refuses.
            put("x-dead-letter-strategy", text("at-least-once"));
            put("x-overflow", text("reject-publish"));
        }
        Declaration {
            name: self.named(&format!("{}.{}", self.retry, tier.0)),
            arguments,
        }
    }

    /// The holding queue that has to be declared before something is put into it; `None` where it was.
    pub(super) fn missing(&self, tier: Tier) -> Option<Declaration> {
        (!self.declared.contains(&tier)).then(|| self.holding(tier))
    }

    /// It is there.
    pub(super) fn declared(&mut self, tier: Tier) {
        self.declared.insert(tier);
    }

    /// Those declared on this connection.
    pub(super) fn tiers(&self) -> impl Iterator<Item = Tier> {
        self.declared.iter().copied()
    }

    /// Something put into it came back unroutable: it is there no longer.
    pub(super) fn gone(&mut self, tier: Tier) {
        self.declared.remove(&tier);
    }

    fn named(&self, name: &str) -> ShortString {
        // `new` saw to the length.
        short(name).unwrap_or_default()
    }

    fn kind(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        let kind = if self.quorum { "quorum" } else { "classic" };
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        if self.quorum {
            // From 4.0 on 20 unless told otherwise, and then the message is dropped. The host counts by itself.
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(LIMIT));
        }
        arguments
    }
}

/// Above `max_deliveries` of any plugin that means to count.
const LIMIT: i64 = 1_000_000;

#[cfg(test)]
mod tests;
