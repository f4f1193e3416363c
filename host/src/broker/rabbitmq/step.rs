//! What becomes of a message: of one that ended, and of one that arrives.
//!
//! A message that is released waits in a queue of its subscription's own, not unacknowledged: the server's patience is
//! bounded (30 min), and a place in the prefetch is one less for others. It is published there, confirmed, and only then
//! acknowledged where it came from. `retry.{subscription}.{plugin}` is read beside the source;
//! `retry.{subscription}.{plugin}.{ms}` holds back what is put into it for so long and then dead-letters into the former.
//! Neither is ever the source itself: there other applications would see the message again.
//!
//! Returning a message to its queue would be simpler and is done only where an order is promised, since it keeps the
//! message's place ([`subscription`](super::subscription)). It has two faults: attempts have no place there, and the
//! server takes it for a failed delivery: a quorum queue counts it towards its limit (20 by default from 4.0, then the
//! message is dropped), a classic queue marks it as redelivered like one whose host died.
//!
//! That mark is all a classic queue keeps. To count crashes nonetheless, a message that bears it is moved to the
//! subscription's own queue before it runs, with one more delivery noted beside it; each crash moves it once more. Where
//! an order is promised it cannot be moved, and a classic queue then guards against no crash loop.

use std::time::Duration;

use crate::commit::Settlement;

/// What a settlement is carried out as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Acknowledged.
    Acknowledge,
    /// Put into the subscription's own queue, held back by the tier if there is one, then acknowledged.
    Park {
        /// Which of the holding queues.
        tier: Option<Tier>,
        attempts: u32,
        first_failed_ms: Option<u64>,
    },
    /// Left unacknowledged, and given back by the end of the connection, with all behind it. The host keeps in mind what has
    /// no place there.
    Return {
        after: Option<Duration>,
        attempts: u32,
        first_failed_ms: Option<u64>,
    },
}

/// A holding queue: how long it holds, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tier(pub(super) u32);

/// The shortest wait at the server.
const SHORTEST: u64 = 125;
/// The longest time to live the server takes.
const LONGEST: u64 = u32::MAX as u64;

impl Tier {
    /// The tier for a wait of `after`: never shorter, and at most half as long again. Waits are jittered, and a queue for
    /// each would be too many; so tiers are 125 ms, 188 ms, 250 ms, 375 ms, 500 ms and so on, two for each doubling. A
    /// wait of more than 49 days ends then.
    pub(super) fn of(after: Duration) -> Self {
        let wanted = u64::try_from(after.as_millis()).unwrap_or(LONGEST);
        let wanted =
            wanted.saturating_add(u64::from(!after.subsec_nanos().is_multiple_of(1_000_000)));
        let mut tier = SHORTEST;
        while tier < wanted {
            let half = (tier * 3).div_ceil(2);
            tier = if half >= wanted { half } else { tier * 2 };
        }
        Self(u32::try_from(tier).unwrap_or(u32::MAX))
    }
}

/// What a settlement is carried out as, in a subscription that promises an order or not.
pub(super) fn step(settlement: Settlement, ordered: bool) -> Step {
    match settlement {
        Settlement::Accept => Step::Acknowledge,
        Settlement::Release {
            after,
            attempts,
            first_failed_ms,
        } if ordered => Step::Return {
            after,
            attempts,
            first_failed_ms,
        },
        Settlement::Release {
            after,
            attempts,
            first_failed_ms,
        } => Step::Park {
            tier: after.filter(|after| !after.is_zero()).map(Tier::of),
            attempts,
            first_failed_ms,
        },
    }
}

/// What is done with a message that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is handed over with this many deliveries.
    Hand(u32),
    /// It is put into the subscription's own queue with this many deliveries beside it, and comes from there.
    Move(u32),
}

/// `parked` deliveries stand beside it; since then the queue has counted `count` (a quorum queue does), or has marked it
/// as `redelivered`.
pub(super) fn arrival(
    parked: u32,
    count: Option<u64>,
    redelivered: bool,
    ordered: bool,
) -> Arrival {
    match count {
        Some(count) => {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            Arrival::Hand(parked.saturating_add(count).saturating_add(1))
        }
        None if redelivered && !ordered => Arrival::Move(parked.saturating_add(1)),
        None => Arrival::Hand(parked.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests;
