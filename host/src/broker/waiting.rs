//! What adapters that keep a connection of their own share: what stands in the way just now, and when to try again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "nats")]
use std::time::Duration;

use parking_lot::Mutex;

use crate::ports::Health;

/// What keeps the parts of a broker from working, by part. Empty: all is well. One lock, taken when a part changes state
/// and when health is asked for: never per message.
#[derive(Debug)]
pub(super) struct Troubles {
    system: &'static str,
    by_part: Mutex<BTreeMap<u64, String>>,
    next: AtomicU64,
}

impl Troubles {
    /// None yet. `system` is for the log.
    pub(super) fn new(system: &'static str) -> Arc<Self> {
        Arc::new(Self {
            system,
            by_part: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// A part's own place, with what stands in its way at first.
    pub(super) fn part(self: &Arc<Self>, reason: &str) -> Part {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.by_part.lock().insert(id, reason.to_owned());
        Part {
            id,
            troubles: Arc::clone(self),
        }
    }

    /// The oldest part's word.
    pub(super) fn health(&self) -> Health {
        match self.by_part.lock().values().next() {
            None => Health::Ready,
            Some(reason) => Health::Waiting(reason.clone()),
        }
    }
}

/// One part's place; given up when dropped.
#[derive(Debug)]
pub(super) struct Part {
    id: u64,
    troubles: Arc<Troubles>,
}

impl Part {
    /// Says what is wrong. Logged when it is new.
    pub(super) fn trouble(&self, reason: &str) {
        let mut by_part = self.troubles.by_part.lock();
        if by_part.get(&self.id).is_none_or(|old| old != reason) {
            tracing::warn!(system = self.troubles.system, reason, "waiting");
            by_part.insert(self.id, reason.to_owned());
        }
    }

    /// It works.
    pub(super) fn well(&self) {
        if self.troubles.by_part.lock().remove(&self.id).is_some() {
            tracing::info!(system = self.troubles.system, "works");
        }
    }

    /// What stands in its way just now.
    pub(super) fn now(&self) -> Option<String> {
        self.troubles.by_part.lock().get(&self.id).cloned()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.troubles.by_part.lock().remove(&self.id);
    }
}

/// How long until the next try: doubles from `least` to `most`, with up to half of it taken off at random, so that hosts
/// do not all come at once.
#[cfg(feature = "nats")]
#[derive(Debug, Clone)]
pub(super) struct Tries {
    least: Duration,
    most: Duration,
    failed: u32,
}

#[cfg(feature = "nats")]
impl Tries {
    /// None failed yet.
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            failed: 0,
        }
    }

    /// It works.
    pub(super) fn worked(&mut self) {
        self.failed = 0;
    }

    /// It failed; `dice` is from 0 to 1.
    pub(super) fn failed(&mut self, dice: f64) -> Duration {
        let full = self
            .least
            .saturating_mul(1 << self.failed.min(16))
            .min(self.most);
        self.failed = self.failed.saturating_add(1);
        full.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "nats")]
    #[test]
    fn tries_come_less_and_less_often_until_one_works() {
        let ms = Duration::from_millis;
        let mut tries = Tries::new(ms(100), ms(2000));
        let mut next = || tries.failed(0.0).as_millis();
        let steps: Vec<_> = std::iter::repeat_with(&mut next).take(7).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1600, 2000, 2000]);
        tries.worked();
        assert_eq!(tries.failed(1.0), ms(50));
    }

    #[test]
    fn a_part_that_is_gone_is_in_nobodys_way() {
        let troubles = Troubles::new("test");
        let (one, other) = (troubles.part("a"), troubles.part("b"));
        assert_eq!(troubles.health(), Health::Waiting("a".into()));
        one.well();
        assert_eq!(troubles.health(), Health::Waiting("b".into()));
        other.trouble("c");
        assert_eq!(other.now().as_deref(), Some("c"));
        drop(other);
        assert_eq!(troubles.health(), Health::Ready);
    }
}
