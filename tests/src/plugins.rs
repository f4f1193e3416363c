//! A guest runtime and a catalogue, and messages to try them with.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wharf::handler::{AttemptInfo, Handled, Handler};
use wharf::message::{Message, Origin};
use wharf::plugin::{
    Catalog, CodeStore, Compiler, EngineSettings, Error, GuestRuntime, PluginHandle, Settings,
};
use wharf::telemetry::Metrics;

use crate::guests::{guest, target};

/// The first of four attempts.
pub const ATTEMPT: AttemptInfo = AttemptInfo {
    attempt: 1,
    max_attempts: 4,
};

/// Everything a plugin needs to live.
pub struct Host {
    /// Where guests run.
    pub runtime: GuestRuntime,
    /// Compiled code.
    pub store: Arc<CodeStore>,
    /// The plugins.
    pub catalog: Arc<Catalog>,
    /// Their metrics.
    pub metrics: Arc<Metrics>,
}

/// Two workers and room for any guest.
#[must_use]
pub fn engine() -> EngineSettings {
    EngineSettings {
        instances: 16,
        max_memory: 128 << 20,
        guest_budget: 512 << 20,
        workers: 2,
    }
}

impl Host {
    /// With [`engine`] and the code store all tests share. `compiler` is the path of `compile-component`.
    #[must_use]
    pub fn start(compiler: &str) -> Self {
        Self::start_with(engine(), &target().join("tmp/code"), compiler)
    }

    /// With an engine and a code store of its own.
    ///
    /// # Panics
    ///
    /// When the engine or the store cannot be had.
    #[must_use]
    pub fn start_with(engine: EngineSettings, code: &Path, compiler: &str) -> Self {
        let runtime = GuestRuntime::start(engine).expect("an engine");
        let store = CodeStore::open(code, Compiler::Child(compiler.into())).expect("a store");
        let metrics = Metrics::new();
        let catalog = Catalog::new(&runtime, &store, &metrics);
        Self {
            runtime,
            store,
            catalog,
            metrics,
        }
    }

    /// Runs a future on the guest runtime.
    ///
    /// # Panics
    ///
    /// When the future does.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let handle = self.runtime.handle();
        handle.block_on(handle.spawn(future)).expect("no panic")
    }

    /// Loads a plugin.
    pub fn try_add(&self, settings: Settings) -> Result<Arc<PluginHandle>, Error> {
        let catalog = Arc::clone(&self.catalog);
        self.run(async move { catalog.add(settings).await })
    }

    /// Loads the guest of that name under its own name, with the destination `out`.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn add(&self, name: &str, change: impl FnOnce(&mut Settings)) -> Arc<PluginHandle> {
        let mut settings = settings(name, guest(name));
        change(&mut settings);
        self.try_add(settings).expect("a plugin")
    }

    /// One call.
    pub fn call(&self, plugin: &Arc<PluginHandle>, message: Message) -> Handled {
        let plugin = Arc::clone(plugin);
        self.run(async move { plugin.handle(&message, ATTEMPT).await })
    }

    /// The value of a metric, by the beginning of its line in the text form.
    pub fn metric(&self, line: &str) -> Option<f64> {
        let text = self.metrics.encode();
        let line = text.lines().find(|l| l.starts_with(line))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

/// A plugin with the destination `out` and a deadline that tests can wait for.
pub fn settings(name: &str, component: impl AsRef<Path>) -> Settings {
    let mut settings = Settings::bare(name, component.as_ref());
    settings.limits.deadline = Duration::from_secs(5);
    settings.destinations.insert("out".into(), Vec::new());
    settings
}

/// Looks until `done` answers, for at most ten seconds.
///
/// # Panics
///
/// When it did not answer in time; `what` says what was waited for.
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A message with nothing but a payload.
pub fn message(payload: impl Into<String>) -> Message {
    Message {
        id: "m-1".into(),
        id_stable: true,
        subscription: "in".into(),
        topic: "orders".into(),
        origin: Origin {
            broker: "events".into(),
            source: "orders".into(),
            partition: Some(3),
            position: "17".into(),
            group: None,
        },
        key: None,
        headers: Vec::new(),
        payload: bytes::Bytes::from(payload.into()),
        tombstone: false,
        timestamp_ms: 1,
        content_type: None,
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: 0,
        first_failed_ms: None,
        deliveries: 1,
        unrepresentable: None,
        request: false,
    }
}
