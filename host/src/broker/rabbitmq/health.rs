//! What keeps the parts of a broker from working just now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::ports::Health;

/// By part. Empty: all is well. One lock, taken when a connection changes state and when health is asked for: never per
/// message.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    by_part: Mutex<BTreeMap<u64, String>>,
    next: AtomicU64,
}

impl Troubles {
    /// A part's own place, with what stands in its way at first.
    pub(super) fn part(self: &Arc<Self>, reason: &str) -> Part {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.by_part.lock().insert(id, reason.to_owned());
        Part {
            id,
            troubles: Arc::clone(self),
        }
    }

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
            tracing::warn!(reason, "rabbitmq: waiting");
            by_part.insert(self.id, reason.to_owned());
        }
    }

    pub(super) fn well(&self) {
        if self.troubles.by_part.lock().remove(&self.id).is_some() {
            tracing::info!("rabbitmq: connected");
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
