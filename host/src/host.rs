//! Wiring: builds every part from the configuration, and owns the order of start and stop. No decisions live here.
//!
//! Start: engine, components, brokers, and only when all of them are sound, subscriptions. So a component that cannot
//! run is refused before anything is consumed. Stop, in the opposite order: fetch no more, finish, settle, close.

mod lines;
pub mod machine;
mod observe;
mod open;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::config::Config;
use crate::dispatch::{Dispatcher, Drained, Subscription};
use crate::plugin::{Catalog, CodeStore, Compiler, GuestRuntime, Watcher};
use crate::ports::{Broker, Clock};
use crate::telemetry::Metrics;

/// Why a host does not start. Each of these is named before anything is consumed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine cannot run here.
    #[error(transparent)]
    Engine(#[from] crate::plugin::Error),
    /// Components that cannot run, all of them.
    #[error("{}", list(.0))]
    Components(Vec<(String, crate::plugin::Error)>),
    /// A broker cannot be opened, and waiting would not help.
    #[error("broker `{name}`: {reason}")]
    Broker {
        /// Configured name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A subscription cannot be opened.
    #[error("plugin `{plugin}`, subscription `{subscription}`: {reason}")]
    Subscription {
        /// Plugin.
        plugin: String,
        /// Subscription.
        subscription: String,
        /// What is wrong.
        reason: String,
    },
}

fn list(components: &[(String, crate::plugin::Error)]) -> String {
    let lines: Vec<String> = components
        .iter()
        .map(|(plugin, error)| format!("plugin `{plugin}`: {error}"))
        .collect();
    lines.join("\n")
}

/// The brokers by configured name.
pub type Brokers = BTreeMap<Arc<str>, Arc<dyn Broker>>;

/// A running host.
pub struct Host {
    config: Config,
    brokers: Brokers,
    catalog: Arc<Catalog>,
    dispatcher: Dispatcher,
    subscriptions: Vec<Subscription>,
    metrics: Arc<Metrics>,
    observer: JoinHandle<()>,
    watcher: Watcher,
    /// Dropped last: its drop abandons guests that still run.
    guests: GuestRuntime,
}

/// What views and commands may see of a running host.
#[derive(Clone)]
pub struct Views {
    /// Brokers.
    pub brokers: Arc<Brokers>,
    /// Plugins.
    pub catalog: Arc<Catalog>,
    /// Subscriptions.
    pub subscriptions: Arc<Vec<Subscription>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether readiness answers for the brokers.
    pub readiness: crate::config::Readiness,
}

/// A host whose components can run, and that knows no broker yet.
pub struct Prepared {
    config: Config,
    metrics: Arc<Metrics>,
    catalog: Arc<Catalog>,
    guests: GuestRuntime,
}

impl Prepared {
    /// Loads every component; `compiler` is who turns them into code, which may take minutes. May be given up.
    ///
    /// # Errors
    /// See [`Error`]; all unsound components are reported at once.
    pub async fn new(config: Config, compiler: Compiler) -> Result<Self, Error> {
        let metrics = Metrics::new();
        let guests = GuestRuntime::start(settings::engine(&config))?;
        let store = CodeStore::open(&config.host.cache, compiler)?;
        let catalog = Catalog::new(&guests, &store, &metrics);
        open::plugins(&config, &catalog).await?;
        Ok(Self {
            config,
            metrics,
            catalog,
            guests,
        })
    }
}

impl Host {
    /// Starts to consume. On an error nothing was consumed.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(prepared: Prepared) -> Result<Self, Error> {
        let Prepared {
            config,
            metrics,
            catalog,
            guests,
        } = prepared;
        let brokers = open::brokers(&config).await?;

        let in_flight = &config.host.max_in_flight;
        let dispatcher = Dispatcher::new(
            (in_flight.messages as usize, in_flight.bytes.as_usize()),
            Clock::system(),
            guests.handle().clone(),
        );
        let subscriptions =
            lines::start(&config, &brokers, &catalog, &dispatcher, &metrics).await?;
        let observer = tokio::spawn(observe::run(
            brokers.clone(),
            subscriptions.clone(),
            Arc::clone(&metrics),
        ));
        Ok(Self {
            config,
            brokers,
            dispatcher,
            subscriptions,
            metrics,
            observer,
            watcher: Watcher::start(&catalog),
            catalog,
            guests,
        })
    }

    /// What views and commands may see.
    pub fn views(&self) -> Views {
        Views {
            brokers: Arc::new(self.brokers.clone()),
            catalog: Arc::clone(&self.catalog),
            subscriptions: Arc::new(self.subscriptions.clone()),
            metrics: Arc::clone(&self.metrics),
            readiness: self.config.telemetry.readiness,
        }
    }

    /// Stops: fetches no more, finishes what is in hand within the drain timeout, releases the rest, closes.
    pub async fn stop(self) -> Drained {
        drop(self.watcher);
        let drained = self.dispatcher.drain(self.config.host.drain_timeout).await;
        self.observer.abort();
        for (name, broker) in &self.brokers {
            let close = tokio::time::timeout(machine::CLOSE, broker.close());
            if close.await.is_err() {
                tracing::warn!(broker = %name, "did not close in time");
            }
        }
        drop(self.guests);
        drained
    }
}
