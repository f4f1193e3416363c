//! A guest runtime and a catalogue, and messages to try them with.

use std::sync::Arc;
use std::time::Duration;

use wharf::handler::{AttemptInfo, Handled, Handler};
use wharf::message::{Message, Origin};
use wharf::plugin::{Catalog, EngineSettings, GuestRuntime, PluginHandle, Settings};
use wharf::telemetry::Metrics;
use wharf_tests::guests::guest;

pub(crate) struct Host {
    pub(crate) runtime: GuestRuntime,
    pub(crate) catalog: Arc<Catalog>,
}

pub(crate) const ATTEMPT: AttemptInfo = AttemptInfo {
    attempt: 1,
    max_attempts: 4,
};

impl Host {
    pub(crate) fn start() -> Self {
        let runtime = GuestRuntime::start(EngineSettings {
            instances: 16,
            max_memory: 128 << 20,
            guest_budget: 512 << 20,
            workers: 2,
        })
        .expect("an engine");
        let catalog = Catalog::new(runtime.engine(), &Metrics::new());
        Self { runtime, catalog }
    }

    pub(crate) fn add(&self, name: &str, change: impl FnOnce(&mut Settings)) -> Arc<PluginHandle> {
        let mut settings = Settings::new(name, guest(name));
        settings.limits.deadline = Duration::from_millis(300);
        settings.destinations.insert("out".into(), Default::default());
        change(&mut settings);
        let catalog = Arc::clone(&self.catalog);
        self.run(async move { catalog.add(settings).await }).expect("a plugin")
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let handle = self.runtime.handle();
        handle.block_on(handle.spawn(future)).expect("no panic")
    }

    pub(crate) fn call(&self, plugin: &Arc<PluginHandle>, message: Message) -> Handled {
        let plugin = Arc::clone(plugin);
        self.run(async move { plugin.handle(&message, ATTEMPT).await })
    }

    pub(crate) fn bench(&self, plugin: &Arc<PluginHandle>, n: u32) {
        let plugin = Arc::clone(plugin);
        self.run(async move {
            let message = message("x");
            for _ in 0..3 {
            let start = tokio::time::Instant::now();
            for _ in 0..n {
                plugin.handle(&message, ATTEMPT).await.result.expect("ok");
            }
            println!("{:?} per call", start.elapsed() / n);
            }
        });
    }
}

pub(crate) fn json(body: serde_json::Value) -> Message {
    message(body.to_string())
}

pub(crate) fn message(payload: impl Into<String>) -> Message {
    Message {
        id: "m-1".into(),
        id_stable: true,
        subscription: "in".into(),
        topic: "orders".into(),
        origin: Origin {
            broker: "b".into(),
            source: "orders".into(),
            partition: None,
            position: "1".into(),
            group: None,
        },
        key: None,
        headers: Vec::new(),
        payload: bytes::Bytes::from(payload.into()),
        tombstone: false,
        timestamp_ms: 0,
        content_type: None,
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: 0,
        deliveries: 1,
        unrepresentable: None,
    }
}
