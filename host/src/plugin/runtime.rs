//! The threads guests run on: a tokio runtime of their own, so that a spinning guest cannot keep a broker's heartbeat
//! from being sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;

use super::Error;
use super::engine::{Engine, EngineSettings};

/// How often idle instances are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// The engine and the runtime its guests run on. Every future that calls a plugin must run on [`handle`](Self::handle).
pub struct GuestRuntime {
    /// `None` only while being dropped.
    runtime: Option<Runtime>,
    engine: Arc<Engine>,
}

impl GuestRuntime {
    /// Starts as many threads as `settings.workers` says.
    pub fn start(settings: EngineSettings) -> Result<Self, Error> {
        let workers = settings.workers.max(1);
        let engine = Engine::new(EngineSettings {
            workers,
            ..settings
        })?;
        let mut builder = Builder::new_multi_thread();
        builder
            .worker_threads(workers)
            .thread_name("wharf-guest")
            .enable_all();
        if workers == 1 {
            // No other worker looks at timers while a guest runs, a millisecond at a time.
            builder.event_interval(2);
        }
        let runtime = builder.build().map_err(|e| Error::Engine(e.to_string()))?;
        runtime.spawn(sweep(Arc::downgrade(&engine)));
        Ok(Self {
            runtime: Some(runtime),
            engine,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Where dispatch's workers belong.
    pub fn handle(&self) -> &Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle(),
            None => unreachable!("taken only by drop"),
        }
    }
}

impl Drop for GuestRuntime {
    /// Does not wait: a guest that still runs is abandoned at its next tick.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn sweep(engine: std::sync::Weak<Engine>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(engine) = engine.upgrade() else {
            return;
        };
        let now = Instant::now();
        for plugin in engine.plugins() {
            plugin.sweep(now);
        }
    }
}
