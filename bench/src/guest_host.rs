//! A guest runtime and a catalogue inside this process, and dispatch lines as the host's own wiring makes them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use wharf::config::{OnDeadLetter, Order, Redact};
use wharf::delivery::Inbox;
use wharf::dispatch::attempt::Policy;
use wharf::dispatch::retry::Schedule;
use wharf::dispatch::{Dispatcher, Line};
use wharf::plugin::{
    Catalog, CodeStore, Compiler, EngineSettings, GuestRuntime, PluginHandle, Settings,
};
use wharf::ports::{Capabilities, Clock, Subscribed};
use wharf::telemetry::{Metrics, SubscriptionLabels};

use crate::twin;

/// Messages and bytes in hand, as the configuration's defaults have them.
const WINDOW: (usize, usize) = (512, 16 << 20);
const HOST_WINDOW: (usize, usize) = (16_384, 256 << 20);

pub(crate) struct GuestHost {
    pub(crate) runtime: GuestRuntime,
    pub(crate) catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    /// Compiled code.
    _folder: TempDir,
}

/// As many as there are cores: what a host takes for workers and instances.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl GuestHost {
    pub(crate) fn start(compiler: Compiler) -> anyhow::Result<Self> {
        let runtime = GuestRuntime::start(EngineSettings {
            instances: 4 * cores() as u32,
            max_memory: 128 << 20,
            guest_budget: 1 << 30,
            workers: cores(),
        })?;
        let folder = tempfile::tempdir()?;
        let store = CodeStore::open(folder.path().join("code"), compiler)?;
        let metrics = Metrics::new();
        Ok(Self {
            catalog: Catalog::new(&runtime, &store, &metrics),
            runtime,
            metrics,
            _folder: folder,
        })
    }

    /// A plugin out of the box that may publish to `out`.
    pub(crate) async fn add(
        &self,
        name: &str,
        component: &Path,
    ) -> anyhow::Result<Arc<PluginHandle>> {
        let mut settings = Settings::bare(name, component);
        settings.instances = cores() as u32;
        settings.destinations.insert("out".into(), Vec::new());
        Ok(self.catalog.add(settings).await?)
    }

    /// Must be called within the runtime that reads and commits.
    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(HOST_WINDOW, Clock::system(), self.runtime.handle().clone())
    }

    /// A subscription of `in` out of the box.
    pub(crate) fn line(
        &self,
        capabilities: Capabilities,
        subscribed: Subscribed,
        inbox: Arc<Inbox>,
    ) -> anyhow::Result<Line> {
        let labels = SubscriptionLabels {
            plugin: "bench".into(),
            subscription: "in".into(),
            messaging_system: "bench".into(),
            messaging_destination_name: "in".into(),
            messaging_consumer_group_name: "bench".into(),
        };
        let second = Duration::from_secs(1);
        Ok(Line {
            spec: twin::spec("in"),
            broker: "b".into(),
            policy: Policy {
                schedule: Schedule::new(3, second, 2.0, 30 * second, 0.2)?,
                max_deliveries: 20,
                ordered: false,
                capabilities,
            },
            order: Order::None,
            on_dead_letter: OnDeadLetter::Continue,
            redact: Redact::default(),
            destinations: HashMap::from([("out".into(), twin::destination("out"))]),
            replies: None,
            dead_letters: twin::destination("dlq.in.bench"),
            publishers: HashMap::new(),
            window: WINDOW,
            metrics: self.metrics.subscription(&labels),
            inbox,
            subscribed,
        })
    }
}
