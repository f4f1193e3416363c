//! The circuit breaker of one plugin: closed, open, half-open, as the literature has it.
//!
//! A pure machine: every method takes `now`. Failures are retries, unavailability and faults of the guest;
//! rejections and checks before the handler never count, for they say nothing about a dependency.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When to open, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Open after this many failures in a row within `window`.
    pub consecutive_failures: u32,
    /// Stay open this long, then let one message through.
    pub recovery_timeout: Duration,
    /// Older failures are forgotten.
    pub window: Duration,
    /// Also open when this share of the calls in `window` failed.
    pub failure_ratio: Option<f64>,
    /// The ratio needs at least this many calls.
    pub min_calls: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// Whether a message may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Run it, and record how it ended under this number.
    Run(Ticket),
    /// Not now; ask again after this long.
    Wait(Duration),
}

/// Ties a run to the state it was permitted in: one that ends in another state says nothing about that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// How a run ended, as far as the breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// The handler worked.
    Success,
    /// It did not.
    Failure,
    /// Says nothing: a rejection, a run that did not happen.
    Neutral,
}

/// One plugin's breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
    /// Goes up whenever `state` changes its kind.
    epoch: u64,
    /// Calls within the window, oldest first; true is a failure. Bounded by `KEEP`.
    calls: VecDeque<(Instant, bool)>,
}

/// Calls remembered at most: enough for any sensible ratio, bounded under any load.
const KEEP: usize = 1024;

impl Breaker {
    /// Starts closed.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed,
            epoch: 0,
            calls: VecDeque::new(),
        }
    }

    /// Asks to run one message. In half-open, the first to ask is the probe and the others wait.
    pub fn permit(&mut self, now: Instant) -> Permit {
        match self.state {
            State::Closed => Permit::Run(Ticket(self.epoch)),
            State::Open { until } if now < until => Permit::Wait(until - now),
            State::Open { .. } => {
                self.enter(State::HalfOpen { probing: true });
                Permit::Run(Ticket(self.epoch))
            }
            State::HalfOpen { probing: false } => {
                self.state = State::HalfOpen { probing: true };
                Permit::Run(Ticket(self.epoch))
            }
            State::HalfOpen { probing: true } => {
                Permit::Wait(self.settings.recovery_timeout.min(Duration::from_secs(1)))
            }
        }
    }

    /// Records how a permitted run ended.
    pub fn record(&mut self, ticket: Ticket, sample: Sample, now: Instant) {
        if ticket.0 != self.epoch {
            return;
        }
        match (self.state, sample) {
            (State::HalfOpen { .. }, Sample::Success) => {
                self.enter(State::Closed);
                self.calls.clear();
            }
            (State::HalfOpen { .. }, Sample::Failure) => self.open(now),
            (State::HalfOpen { .. }, Sample::Neutral) => {
                self.state = State::HalfOpen { probing: false };
            }
            (State::Closed, Sample::Success | Sample::Failure) => {
                self.remember(now, sample == Sample::Failure);
                if self.tripped() {
                    self.open(now);
                }
            }
            (State::Closed, Sample::Neutral) | (State::Open { .. }, _) => {}
        }
    }

    /// 0 closed, 1 half-open, 2 open: the value of `wharf_breaker_state`.
    pub fn level(&self) -> i64 {
        match self.state {
            State::Closed => 0,
            State::HalfOpen { .. } => 1,
            State::Open { .. } => 2,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }

    fn open(&mut self, now: Instant) {
        self.enter(State::Open {
            until: now + self.settings.recovery_timeout,
        });
        self.calls.clear();
    }

    fn remember(&mut self, now: Instant, failed: bool) {
        while let Some((at, _)) = self.calls.front() {
            if now.duration_since(*at) <= self.settings.window && self.calls.len() < KEEP {
                break;
            }
            self.calls.pop_front();
        }
        self.calls.push_back((now, failed));
    }

    fn tripped(&self) -> bool {
        let in_a_row = self.calls.iter().rev().take_while(|(_, f)| *f).count();
        if in_a_row >= self.settings.consecutive_failures as usize {
            return true;
        }
        let Some(ratio) = self.settings.failure_ratio else {
            return false;
        };
        let failed = self.calls.iter().filter(|(_, f)| *f).count();
        self.calls.len() >= self.settings.min_calls as usize
            && failed as f64 >= ratio * self.calls.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        consecutive_failures: 3,
        recovery_timeout: Duration::from_secs(60),
        window: Duration::from_secs(10),
        failure_ratio: None,
        min_calls: 0,
    };

    /// Ends a run that was permitted in the present state.
    fn end(b: &mut Breaker, sample: Sample, now: Instant) {
        b.record(Ticket(b.epoch), sample, now);
    }

    fn fail(b: &mut Breaker, times: u32, now: Instant) {
        for _ in 0..times {
            end(b, Sample::Failure, now);
        }
    }

    fn runs(b: &mut Breaker, now: Instant) -> bool {
        matches!(b.permit(now), Permit::Run(_))
    }

    #[test]
    fn opens_on_consecutive_failures_and_probes_once_after_recovery() {
        let (mut b, t) = (Breaker::new(SETTINGS), Instant::now());
        fail(&mut b, 2, t);
        assert!(runs(&mut b, t));
        fail(&mut b, 1, t);
        assert_eq!(b.permit(t), Permit::Wait(Duration::from_secs(60)));
        assert_eq!(b.level(), 2);
        let later = t + Duration::from_secs(60);
        assert!(runs(&mut b, later));
        assert_eq!(b.level(), 1);
        assert!(matches!(b.permit(later), Permit::Wait(_)), "one probe only");
        end(&mut b, Sample::Success, later);
        assert_eq!(b.level(), 0);
        assert!(runs(&mut b, later));
    }

    #[test]
    fn a_failed_probe_opens_again_and_a_neutral_one_lets_the_next_try() {
        let (mut b, t) = (Breaker::new(SETTINGS), Instant::now());
        fail(&mut b, 3, t);
        let t = t + Duration::from_secs(60);
        assert!(runs(&mut b, t));
        end(&mut b, Sample::Neutral, t);
        assert!(runs(&mut b, t), "the rejection proved nothing");
        end(&mut b, Sample::Failure, t);
        assert_eq!(b.permit(t), Permit::Wait(Duration::from_secs(60)));
    }

    #[test]
    fn a_run_that_began_before_the_breaker_opened_is_not_its_probe() {
        let (mut b, t) = (Breaker::new(SETTINGS), Instant::now());
        let Permit::Run(old) = b.permit(t) else {
            panic!("closed")
        };
        fail(&mut b, 3, t);
        let t = t + Duration::from_secs(60);
        assert!(runs(&mut b, t), "the probe");
        b.record(old, Sample::Success, t);
        assert_eq!(b.level(), 1, "the probe is still under way");
    }

    #[test]
    fn a_success_or_the_window_breaks_the_row() {
        let (mut b, t) = (Breaker::new(SETTINGS), Instant::now());
        fail(&mut b, 2, t);
        end(&mut b, Sample::Success, t);
        fail(&mut b, 2, t);
        assert_eq!(b.level(), 0);
        fail(&mut b, 2, t + Duration::from_secs(11));
        assert_eq!(b.level(), 0, "older failures are forgotten");
    }

    #[test]
    fn rejections_never_count() {
        let (mut b, t) = (Breaker::new(SETTINGS), Instant::now());
        for _ in 0..100 {
            end(&mut b, Sample::Neutral, t);
        }
        fail(&mut b, 2, t);
        end(&mut b, Sample::Neutral, t);
        assert_eq!(b.level(), 0);
        fail(&mut b, 1, t);
        assert_eq!(b.level(), 2, "nor do they break a row");
    }

    #[test]
    fn opens_on_a_ratio_once_there_are_enough_calls() {
        let settings = Settings {
            consecutive_failures: 100,
            failure_ratio: Some(0.5),
            min_calls: 4,
            ..SETTINGS
        };
        let (mut b, t) = (Breaker::new(settings), Instant::now());
        end(&mut b, Sample::Failure, t);
        end(&mut b, Sample::Success, t);
        end(&mut b, Sample::Success, t);
        assert_eq!(b.level(), 0);
        end(&mut b, Sample::Failure, t);
        assert_eq!(b.level(), 2);
    }
}
