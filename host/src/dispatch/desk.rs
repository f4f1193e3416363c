//! What one worker puts off while it has work: counts and holds that all workers of a plugin share.
//!
//! Each of them moves between the workers' caches whenever another worker changes it, which costs more than changing it.
//! So a worker keeps its part and hands in many at once: when it has enough of them, when the oldest is due, and
//! before it waits. What is shown is therefore late by [`LATE`] and the run under way, at most.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::Inbox;
use crate::dispatch::route::Route;
use crate::telemetry::SubscriptionMetrics;

/// Handed in together.
const MANY: usize = 64;
/// How old the oldest may be before the next run begins.
const LATE: Duration = Duration::from_millis(20);

/// One worker's.
#[derive(Default)]
pub(super) struct Desk {
    /// The subscription whose message was handled last, unless one of it is being handled.
    route: Option<Arc<Route>>,
    /// What `took` is counted by.
    metrics: Option<Arc<SubscriptionMetrics>>,
    /// How long runs took that ended well.
    took: Vec<Duration>,
    /// When the first of them began.
    since: Option<Instant>,
    /// To be let go of.
    holds: Vec<(Arc<Route>, Arc<Inbox>)>,
}

impl Desk {
    /// The same subscription as `route`, without counting one more hold on it where it was the last one.
    pub(super) fn route(&mut self, route: &Arc<Route>) -> Arc<Route> {
        match self.route.take() {
            Some(last) if Arc::ptr_eq(&last, route) => last,
            _ => {
                self.counted_by(&route.metrics);
                Arc::clone(route)
            }
        }
    }

    /// Gives back what [`route`](Self::route) answered.
    pub(super) fn keep(&mut self, route: Arc<Route>) {
        self.route = Some(route);
    }

    /// What is put off from now on is counted there.
    fn counted_by(&mut self, metrics: &Arc<SubscriptionMetrics>) {
        self.clear();
        self.metrics = Some(Arc::clone(metrics));
    }

    /// A run of that subscription began then, took so long and ended well.
    pub(super) fn ran_well(&mut self, began: Instant, took: Duration) {
        self.since.get_or_insert(began);
        self.took.push(took);
    }

    /// A message is over.
    pub(super) fn done(&mut self, route: Arc<Route>, inbox: Arc<Inbox>) {
        self.holds.push((route, inbox));
    }

    /// Hands in what is due.
    pub(super) fn tidy(&mut self, now: Instant) {
        if is_due(self.holds.len().max(self.took.len()), self.since, now) {
            self.clear();
        }
    }

    /// Hands in everything.
    pub(super) fn clear(&mut self) {
        if let Some(metrics) = self.metrics.as_ref().filter(|_| !self.took.is_empty()) {
            metrics.ran_well(&self.took);
        }
        self.took.clear();
        self.since = None;
        self.holds.clear();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Whether so many, the first of them from `since`, are handed in now.
fn is_due(many: usize, since: Option<Instant>, now: Instant) -> bool {
    many >= MANY || since.is_some_and(|since| now.saturating_duration_since(since) >= LATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, SubscriptionLabels};

    fn metrics() -> Arc<SubscriptionMetrics> {
        Metrics::new().subscription(&SubscriptionLabels::default())
    }

    #[test]
    fn every_run_is_counted_once_and_where_it_belongs() {
        let (one, other) = (metrics(), metrics());
        let began = Instant::now();
        let mut desk = Desk::default();
        desk.counted_by(&one);
        for n in 0..MANY as u64 {
            assert_eq!(one.handled(), 0, "put off");
            desk.tidy(began);
            desk.ran_well(began, Duration::from_millis(n));
        }
        desk.tidy(began);
        assert_eq!(one.handled(), MANY as u64);
        desk.ran_well(began, LATE);
        desk.counted_by(&other);
        desk.ran_well(began, LATE);
        drop(desk);
        assert_eq!(one.handled(), MANY as u64 + 1);
        assert_eq!(other.handled(), 1);
    }

    #[test]
    fn many_are_due_and_so_are_old_ones() {
        let now = Instant::now();
        assert!(!is_due(0, None, now));
        assert!(!is_due(MANY - 1, Some(now), now));
        assert!(is_due(MANY, Some(now), now));
        assert!(is_due(MANY, None, now));
        assert!(!is_due(1, Some(now), now + LATE / 2));
        assert!(is_due(1, Some(now), now + LATE));
    }
}
