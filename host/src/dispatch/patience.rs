//! How long a message may wait in the host, where its broker waits only so long for a settlement: half of that.
//!
//! Beyond the whole the broker takes the message for lost and delivers it again, to be handled twice. Half is for waiting,
//! half for the run: one that begins at the last moment and takes as long as a deadline may (validation holds it to less
//! than half) still ends in time. What has waited for its half goes back, with the attempts it was charged and the
//! rest of its delay, and comes again with the whole time before it. What runs is never interrupted for this.
//!
//! Nothing here knows a queue or a broker; [`sweep`](super::sweep) looks through what waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::ports::{half_of, look_every};

/// What a message does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It waits for its turn: in a lane, for a worker, for a destination. Nobody knows how long.
    Queues,
    /// It waits for its next attempt, at that time.
    Waits(Instant),
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What it does ends in time, whatever happens.
    Keep,
    /// It may go on; to be looked at again then.
    Look(Instant),
    /// It goes back now.
    Release,
}

/// What one subscription's broker leaves the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    waits: Duration,
}

impl Patience {
    /// Of what the broker declares; `None` where it waits for ever.
    pub(super) fn of(declared: Option<Duration>) -> Option<Self> {
        let waits = half_of(declared?);
        Some(Self { waits })
    }

    /// When a message that was delivered then must not wait any more.
    pub(super) fn end(self, delivered: Instant) -> Instant {
        delivered + self.waits
    }

    /// When to look again at what nobody has seen yet. What comes meanwhile waits for at most so much longer than it may.
    pub(super) fn next_look(self, now: Instant) -> Instant {
        now + look_every(self.waits)
    }

    /// What becomes of a message; of one whose delivery is not known nobody will ask for it back.
    pub(super) fn verdict(self, delivered: Option<Instant>, doing: Doing, now: Instant) -> Verdict {
        let Some(end) = delivered.map(|delivered| self.end(delivered)) else {
            return Verdict::Keep;
        };
        match doing {
            Doing::Waits(due) if due < end => Verdict::Keep,
            _ if now < end => Verdict::Look(end),
            _ => Verdict::Release,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_outlast_half_of_it_goes_back_at_half_of_it() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let waits = |seconds| Doing::Waits(at(seconds));
        // A broker that waits for 20 s.
        let table = [
            // (delivered, what it does, now, what becomes of it)
            (Some(0), Doing::Queues, 0, Verdict::Look(at(10))),
            (Some(0), Doing::Queues, 9, Verdict::Look(at(10))),
            (Some(0), Doing::Queues, 10, Verdict::Release),
            (Some(0), Doing::Queues, 300, Verdict::Release),
            (Some(7), Doing::Queues, 10, Verdict::Look(at(17))),
            (None, Doing::Queues, 300, Verdict::Keep),
            (Some(0), waits(9), 0, Verdict::Keep),
            (Some(0), waits(9), 300, Verdict::Keep),
            (Some(0), waits(10), 0, Verdict::Look(at(10))),
            (Some(0), waits(60), 1, Verdict::Look(at(10))),
            (Some(0), waits(60), 10, Verdict::Release),
            (Some(0), waits(60), 12, Verdict::Release),
            (Some(0), waits(11), 11, Verdict::Release),
            (Some(0), waits(11), 12, Verdict::Release),
            (Some(55), waits(60), 56, Verdict::Keep),
            (None, waits(60), 56, Verdict::Keep),
        ];
        let patience = Patience::of(Some(Duration::from_secs(20))).expect("it is bounded");
        for (delivered, doing, now, expected) in table {
            let verdict = patience.verdict(delivered.map(at), doing, at(now));
            assert_eq!(verdict, expected, "{delivered:?} {doing:?} at {now}");
        }
        assert_eq!(Patience::of(None), None);
    }

    #[test]
    fn looks_are_apart_however_short_the_patience_is() {
        let now = Instant::now();
        let look = |seconds| {
            let declared = Some(Duration::from_secs_f64(seconds));
            Patience::of(declared).expect("bounded").next_look(now) - now
        };
        assert_eq!(look(1800.0), Duration::from_secs(225));
        assert_eq!(look(0.000_001), Duration::from_millis(1));
    }
}
