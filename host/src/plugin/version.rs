//! One loaded component of a plugin, its idle instances, and the count of its live ones.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::contract::Prepared;
use super::idle::Idle;
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
    /// Instances between two calls. None is kept once the version is retired.
    idle: Idle<Instance>,
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
            idle: Idle::new(),
            live: Arc::new(AtomicUsize::new(0)),
        })
    }

    /// The warmest idle instance.
    pub(super) fn take(&self) -> Option<Instance> {
        self.idle.take()
    }

    /// Keeps an instance for the next message.
    pub(super) fn put(&self, instance: Instance) {
        drop(self.idle.put(instance));
    }

    /// Drops the idle instances for which `stale` holds.
    pub(super) fn drop_idle(&self, stale: impl FnMut(&mut Instance) -> bool) {
        drop(self.idle.take_if(stale));
    }

    /// No new calls will come: idle instances go now, busy ones when their call is over.
    pub(super) fn retire(&self) {
        drop(self.idle.retire());
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
