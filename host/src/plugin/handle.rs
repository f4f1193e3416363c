//! A plugin in life: the [`Handler`] that dispatch calls.
//!
//! Any idle instance of the current version takes the message; where there is none and the plugin has not reached its
//! number, one is made; else the call waits for the first that comes free. The version is read once per call, after that
//! wait, so a call runs from beginning to end on one version.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::{ArcSwapOption, Guard};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::engine::Engine;
use super::instance::Instance;
use super::places::{Found, Place, Places};
use super::plugin_parts::Parts;
use super::settings::{Isolation, Settings};
use super::version::Version;
use crate::handler::{AttemptInfo, Fault, FaultKind, Handled, Handler};
use crate::message::Message;
use crate::telemetry::PluginMetrics;

/// What a plugin is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Configured name.
    pub name: Arc<str>,
    /// The version in use, where there is one.
    pub version: Option<VersionStatus>,
    /// Live sandboxes, those of versions on their way out included.
    pub instances: i64,
    /// Their linear memory in bytes.
    pub memory: i64,
}

/// One loaded version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionStatus {
    /// `sha256:` and 64 hex digits.
    pub digest: Arc<str>,
    /// The file it was read from, links resolved.
    pub path: std::path::PathBuf,
    /// When.
    pub loaded_at: SystemTime,
    /// Its live sandboxes.
    pub instances: usize,
}

/// The version in use as a call sees it.
type Current = Guard<Option<Arc<Version>>>;

/// One plugin.
pub struct PluginHandle {
    pub(super) engine: Arc<Engine>,
    pub(super) parts: Parts,
    /// The version new calls run on. Swapped in one step.
    version: ArcSwapOption<Version>,
    /// For as many instances as there may be.
    places: Places,
    /// Held while a version is loaded, so that they are swapped in in the order they were asked for.
    pub(super) swapping: tokio::sync::Mutex<()>,
}

impl PluginHandle {
    pub(super) fn new(
        engine: &Arc<Engine>,
        settings: Settings,
        metrics: Arc<PluginMetrics>,
    ) -> Arc<Self> {
        let places = Places::new(settings.instances.max(1) as usize);
        let handle = Arc::new(Self {
            parts: Parts::new(engine.next_plugin(), settings, metrics),
            engine: Arc::clone(engine),
            version: ArcSwapOption::empty(),
            places,
            swapping: tokio::sync::Mutex::new(()),
        });
        engine.register(&handle);
        handle
    }

    /// What it was made from.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// What it is doing.
    pub fn status(&self) -> Status {
        let version = self.version.load();
        Status {
            name: Arc::clone(&self.parts.settings.name),
            version: version.as_ref().map(|version| VersionStatus {
                digest: Arc::clone(&version.digest),
                path: version.path.clone(),
                loaded_at: version.loaded_at,
                instances: version.instances(),
            }),
            instances: self.parts.metrics.instances.get(),
            memory: self.parts.metrics.memory.get(),
        }
    }

    pub(super) fn current(&self) -> Option<Arc<Version>> {
        self.version.load_full()
    }

    /// From now on calls run on `next`. Those in flight finish on the version they began with.
    pub(super) fn install(&self, next: Arc<Version>) {
        if let Some(old) = self.version.swap(Some(next)) {
            old.retire();
        }
    }

    /// Drops every idle instance.
    pub(super) fn drop_idle(&self) {
        if let Some(version) = &*self.version.load() {
            version.drop_idle(|_| true);
        }
    }

    /// Drops the instances that have been idle for too long. The others tell how long they ran.
    pub(super) fn sweep(&self, now: Instant) {
        let limit = self.parts.settings.recycle.idle;
        if let Some(version) = &*self.version.load() {
            version.drop_idle(|instance| {
                instance.ran.tell();
                now.duration_since(instance.idle_since) >= limit
            });
        }
    }

    async fn run(&self, message: &Message, attempt: AttemptInfo) -> Handled {
        // Not a clone: a count that all threads share moves between their caches at every call.
        let idle = || {
            let version = self.version.load();
            let instance = version.as_ref()?.take()?;
            Some((version, instance))
        };
        let (version, mut instance) = match self.places.find(idle).await {
            Some(Found::Idle(found)) => found,
            Some(Found::Place(place)) => match Box::pin(self.create(place)).await {
                Ok(created) => created,
                Err(not_created) => return not_created,
            },
            None => return not_run("the host is stopping"),
        };
        let reused = self.parts.settings.isolation != Isolation::Message;
        let digest = Arc::clone(&instance.digest);
        // Where this future is dropped, or the call ends in a fault, the instance goes with it.
        let result = instance.handle(&self.parts, message, attempt).await;
        let sound = result.is_ok();
        let result = result.and_then(|outcome| instance.checked(&self.parts, message, outcome));
        match &*version {
            Some(version)
                if sound && reused && instance.is_good() && !self.engine.is_starving() =>
            {
                instance.idle_since = Instant::now();
                version.put(instance);
                self.places.came_back();
            }
            _ => drop(instance),
        }
        Handled {
            version: digest,
            result,
        }
    }

    /// An instance of the current version, on the place it was given.
    async fn create(&self, place: Place) -> Result<(Current, Instance), Handled> {
        let version = self.version.load();
        let Some(current) = &*version else {
            return Err(not_run("no version of the plugin is loaded"));
        };
        match Instance::create(&self.engine, &self.parts, current).await {
            Ok(mut instance) => {
                instance.keep(place);
                Ok((version, instance))
            }
            Err(fault) => Err(Handled {
                version: Arc::clone(&current.digest),
                result: Err(fault),
            }),
        }
    }
}

fn not_run(reason: &str) -> Handled {
    Handled {
        version: "".into(),
        result: Err(Fault::new(FaultKind::NotRun, reason)),
    }
}

impl Handler for PluginHandle {
    fn handle<'a>(&'a self, message: &'a Message, attempt: AttemptInfo) -> BoxFuture<'a, Handled> {
        Box::pin(self.run(message, attempt))
    }
}
