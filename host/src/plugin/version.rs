//! One loaded component of a plugin, its idle instances, and the count of its live ones.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::contract::Prepared;
use super::instance::Instance;
use super::reload::Stamp;
use crate::telemetry::PluginMetrics;

/// A component that was compiled, linked and checked.
pub(super) struct Version {
    /// `sha256:` and 64 hex digits.
    pub(super) digest: Arc<str>,
    /// The file it was read from, links resolved.
    pub(super) path: PathBuf,
    /// What that file looked like. `None` where the version came from the store alone.
    pub(super) stamp: Option<Stamp>,
    pub(super) loaded_at: SystemTime,
    pub(super) prepared: Prepared,
    /// Idle instances, the last used on top: the warmest serves first and the rest may expire. `None` once the
    /// version is retired: an instance that comes back then is dropped.
    idle: Mutex<Option<Vec<Instance>>>,
    /// Live instances, idle ones included.
    live: Arc<AtomicUsize>,
}

impl Version {
    pub(super) fn new(
        digest: Arc<str>,
        path: PathBuf,
        stamp: Option<Stamp>,
        prepared: Prepared,
    ) -> Arc<Self> {
        Arc::new(Self {
            digest,
            path,
            stamp,
            loaded_at: SystemTime::now(),
            prepared,
            idle: Mutex::new(Some(Vec::new())),
            live: Arc::new(AtomicUsize::new(0)),
        })
    }

    /// The warmest idle instance.
    pub(super) fn take(&self) -> Option<Instance> {
        self.idle.lock().as_mut()?.pop()
    }

    /// Keeps an instance for the next message.
    pub(super) fn put(&self, instance: Instance) {
        let refused = match &mut *self.idle.lock() {
            Some(idle) => {
                idle.push(instance);
                None
            }
            None => Some(instance),
        };
        // Dropped without the lock: it frees memory.
        drop(refused);
    }

    /// Drops the idle instances for which `stale` holds.
    pub(super) fn drop_idle(&self, stale: impl Fn(&Instance) -> bool) {
        let gone: Vec<_> = match &mut *self.idle.lock() {
            Some(idle) => idle.extract_if(.., |instance| stale(instance)).collect(),
            None => Vec::new(),
        };
        drop(gone);
    }

    /// No new calls will come: idle instances go now, busy ones when their call is over.
    pub(super) fn retire(&self) {
        let idle = self.idle.lock().take();
        drop(idle);
    }

    /// Counts one more live instance until the answer is dropped.
    pub(super) fn live(&self, metrics: &Arc<PluginMetrics>) -> Live {
        self.live.fetch_add(1, Ordering::Relaxed);
        metrics.instances.inc();
        Live {
            live: Arc::clone(&self.live),
            metrics: Arc::clone(metrics),
        }
    }

    /// Live instances.
    pub(super) fn instances(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }
}

/// One live instance, as counted.
pub(super) struct Live {
    live: Arc<AtomicUsize>,
    metrics: Arc<PluginMetrics>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.metrics.instances.dec();
    }
}
