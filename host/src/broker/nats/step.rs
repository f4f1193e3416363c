//! What becomes of a message that arrives from a stream, and how long it waits.
//!
//! A released message does not go back to where it came from. `-NAK` with a delay would be simpler and has three faults:
//! attempts have no place there; the server counts the delivery, like one whose host died; and what waits counts against
//! the consumer's `max_ack_pending`, so that a wave of retries would stop fresh messages. So it is published to the
//! subscription's own subject, `retry.{subscription}.{plugin}`, confirmed, and then acknowledged where it came from.
//!
//! There it is delivered at once. What is not due yet is given back with a delay, once: the server holds it, against the
//! `max_ack_pending` of the *second* consumer, which nothing fresh goes through. That one delivery is known and not
//! counted. Should it come early a second time (the server forgets delays when it is restarted), it is published anew, so
//! that what stands beside it is exact.

use std::time::Duration;

use super::wire::parked::Parked;

/// What is done with a message that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is handed over with this many deliveries.
    Hand(u32),
    /// It is given back for so long.
    Wait(Duration),
    /// It is published anew, as it waits now, with this many deliveries before it.
    Again(u32),
}

/// `delivered` is the consumer's count, this time included; `parked` is what stands beside the message.
pub(super) fn arrival(parked: Option<&Parked>, delivered: u32, now_ms: u64) -> Arrival {
    let Some(parked) = parked else {
        return Arrival::Hand(delivered.max(1));
    };
    let left = parked.due_ms.map_or(0, |due| due.saturating_sub(now_ms));
    if left > 0 {
        return if delivered <= 1 {
            Arrival::Wait(Duration::from_millis(left))
        } else {
            // Whichever of them were crashes cannot be told: none is counted.
            Arrival::Again(parked.deliveries)
        };
    }
    let waits = u32::from(parked.due_ms.is_some());
    let own = delivered.saturating_sub(waits).max(1);
    Arrival::Hand(parked.deliveries.saturating_add(own))
}

/// When a message that is released now is due; `None` is at once.
pub(super) fn due(after: Option<Duration>, now_ms: u64) -> Option<u64> {
    let after = after.filter(|after| !after.is_zero())?;
    let ms = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    // Not beyond what the server can count in nanoseconds.
    const LONGEST: u64 = 365 * 24 * 3600 * 1000;
    Some(now_ms.saturating_add(ms.min(LONGEST)))
}

#[cfg(test)]
mod tests;
