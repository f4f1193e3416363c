//! What keeps the parts of a broker from working, and how long they wait before they try again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::ports::Health;

/// What keeps each part of the broker from working just now, by part. Empty: all is well.
///
/// One lock, held for the look-up alone, taken when a connection changes state and when health is asked for: never
/// per message.
#[derive(Debug, Default)]
pub(in crate::broker::redis) struct Troubles {
    by_part: Mutex<BTreeMap<u64, String>>,
    /// Names the parts; only ever counts up.
    next: AtomicU64,
}

impl Troubles {
    /// A part's own place. It starts without trouble.
    pub(in crate::broker::redis) fn part(self: &Arc<Self>) -> Part {
        Part {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            troubles: Arc::clone(self),
        }
    }

    pub(in crate::broker::redis) fn health(&self) -> Health {
        match self.by_part.lock().values().next() {
            None => Health::Ready,
            Some(reason) => Health::Waiting(reason.clone()),
        }
    }
}

/// One part's place in [`Troubles`]; gives it up when dropped.
#[derive(Debug)]
pub(in crate::broker::redis) struct Part {
    id: u64,
    troubles: Arc<Troubles>,
}

impl Part {
    /// Another place in the same list.
    pub(super) fn beside(&self) -> Self {
        self.troubles.part()
    }

    /// Says what is wrong. Logged when it is new.
    pub(in crate::broker::redis) fn trouble(&self, reason: &str) {
        let mut by_part = self.troubles.by_part.lock();
        if by_part.get(&self.id).is_none_or(|old| old != reason) {
            tracing::warn!(reason, "redis: waiting");
            by_part.insert(self.id, reason.to_owned());
        }
    }

    pub(in crate::broker::redis) fn well(&self) {
        if self.troubles.by_part.lock().remove(&self.id).is_some() {
            tracing::info!("redis: connected again");
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.troubles.by_part.lock().remove(&self.id);
    }
}

/// How long to wait before the next try: doubles from `min` to `max`, each with up to half of it taken off at random.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker::redis) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(in crate::broker::redis) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            failures: 0,
        }
    }

    pub(in crate::broker::redis) fn reset(&mut self) {
        self.failures = 0;
    }

    /// `jitter` is between 0 and 1.
    fn step(&mut self, jitter: f64) -> Duration {
        let full = self
            .min
            .saturating_mul(1u32 << self.failures.min(16))
            .min(self.max);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(1.0 - jitter / 2.0)
    }

    pub(in crate::broker::redis) async fn wait(&mut self) {
        tokio::time::sleep(self.step(fastrand::f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_from_the_least_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let steps: Vec<_> = (0..8).map(|_| backoff.step(0.0).as_millis()).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.step(1.0).as_millis(), 50);
    }

    #[test]
    fn trouble_of_one_part_is_not_cleared_by_another() {
        let troubles = Arc::new(Troubles::default());
        let (a, b) = (troubles.part(), troubles.part());
        a.trouble("gone");
        b.trouble("also gone");
        b.well();
        assert_eq!(troubles.health(), Health::Waiting("gone".into()));
        drop(a);
        assert_eq!(troubles.health(), Health::Ready);
    }
}
