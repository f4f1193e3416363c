//! One call's time: what it is charged, and what it is not.
//!
//! The guest's own run time and its host calls are charged; waiting for a turn is not. A state machine that is told
//! `now`, locked once when a call starts and ends and at every tick in between.

use std::time::Duration;

use tokio::time::Instant;

/// What the call does just now, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No call.
    Idle,
    /// In the guest.
    Running(Instant),
    /// Past its tick, waiting for a turn or for its place among the runtime's tasks. Free of charge.
    Waiting,
    /// In a host call that is not ready.
    Blocked(Instant),
}

/// The time of one call at a time.
#[derive(Debug)]
pub(super) struct Clock {
    phase: Phase,
    deadline: Duration,
    charged: Duration,
    /// In the guest only, for the metric.
    ran: Duration,
    /// A host call just returned after at least a tick: the guest is as good as new.
    fresh: bool,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            deadline: Duration::ZERO,
            charged: Duration::ZERO,
            ran: Duration::ZERO,
            fresh: false,
        }
    }

    /// A call begins.
    pub(super) fn start(&mut self, now: Instant, deadline: Duration) {
        *self = Self {
            phase: Phase::Running(now),
            deadline,
            ..Self::new()
        };
    }

    /// A call is over. Answers how long the guest ran.
    pub(super) fn end(&mut self, now: Instant) -> Duration {
        self.charge(now);
        self.phase = Phase::Idle;
        self.ran
    }

    fn charge(&mut self, now: Instant) {
        match self.phase {
            Phase::Running(since) => {
                let took = now.saturating_duration_since(since);
                self.charged += took;
                self.ran += took;
                self.phase = Phase::Running(now);
            }
            Phase::Blocked(since) => {
                self.charged += now.saturating_duration_since(since);
                self.phase = Phase::Blocked(now);
            }
            Phase::Idle | Phase::Waiting => {}
        }
    }

    /// A tick while running: whether the deadline has passed.
    pub(super) fn expired(&mut self, now: Instant) -> bool {
        self.charge(now);
        self.charged >= self.deadline
    }

    /// Whether this tick is the first since a long host call. Asking takes the answer.
    pub(super) fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// The guest stops running until its turn comes.
    pub(super) fn wait(&mut self, now: Instant) {
        self.charge(now);
        self.phase = Phase::Waiting;
    }

    /// Its turn has come.
    pub(super) fn resume(&mut self, now: Instant) {
        self.phase = Phase::Running(now);
    }

    /// The call was polled and is not ready. `Some`: it is blocked in a host call and may stay there this long.
    pub(super) fn pending(&mut self, now: Instant) -> Option<Duration> {
        self.charge(now);
        match self.phase {
            Phase::Running(_) | Phase::Blocked(_) => {
                self.phase = Phase::Blocked(now);
                Some(self.deadline.saturating_sub(self.charged))
            }
            Phase::Idle | Phase::Waiting => None,
        }
    }

    /// The call is polled again. A host call that is ready goes on in the guest.
    pub(super) fn polled(&mut self, now: Instant, tick: Duration) {
        if let Phase::Blocked(since) = self.phase {
            self.fresh = now.saturating_duration_since(since) >= tick;
            self.charge(now);
            self.phase = Phase::Running(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waiting_for_a_turn_is_free_and_host_calls_are_not() {
        let zero = Instant::now();
        let at = |ms| zero + MS * ms;
        let mut clock = Clock::new();
        clock.start(at(0), MS * 10);
        assert!(!clock.expired(at(2)));
        clock.wait(at(2));
        assert_eq!(clock.pending(at(3)), None);
        clock.polled(at(500), MS);
        clock.resume(at(1000));
        assert!(!clock.expired(at(1003)), "5 of 10 charged");
        assert_eq!(clock.pending(at(1003)), Some(MS * 5));
        clock.polled(at(1006), MS);
        assert!(clock.take_fresh() && !clock.take_fresh());
        assert!(!clock.expired(at(1007)));
        assert!(clock.expired(at(1008)));
        assert_eq!(
            clock.end(at(1008)),
            MS * 7,
            "host calls are not the guest's own time"
        );
    }

    #[test]
    fn a_woken_host_call_that_blocks_again_goes_on_being_charged() {
        let zero = Instant::now();
        let mut clock = Clock::new();
        clock.start(zero, MS * 10);
        assert_eq!(clock.pending(zero), Some(MS * 10));
        clock.polled(zero + MS * 4, MS);
        assert_eq!(clock.pending(zero + MS * 4), Some(MS * 6));
    }
}
