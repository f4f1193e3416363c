//! Opens components and brokers.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::broker::embedded::Embedded;
#[cfg(feature = "kafka")]
use crate::broker::kafka::KafkaBroker;
#[cfg(feature = "nats")]
use crate::broker::nats::NatsBroker;
#[cfg(feature = "rabbitmq")]
use crate::broker::rabbitmq::RabbitBroker;
#[cfg(feature = "redis")]
use crate::broker::redis::{Options, RedisBroker};
use crate::config::{self, Config};
use crate::host::{Brokers, Error, machine, settings};
use crate::plugin::{self, Catalog};
use crate::ports::Broker;

/// Loads every component, as many at once as there are cores. Reports all that cannot run.
pub(super) async fn plugins(config: &Config, catalog: &Arc<Catalog>) -> Result<(), Error> {
    let cores = u32::try_from(settings::workers(config)).unwrap_or(u32::MAX);
    let turns = Semaphore::new(machine::cores());
    let loads = config.plugins.iter().map(|(name, plugin)| {
        let settings = plugin::Settings::new(name, plugin, cores);
        let turns = &turns;
        async move {
            let _turn = turns.acquire().await;
            let added = catalog.add(settings).await;
            added
                .map(|_handle| ())
                .map_err(|error| (name.clone(), error))
        }
    });
    let failed: Vec<_> = join_all(loads)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Components(failed))
    }
}

/// Opens every broker. One that is absent is no error: its sources wait for it.
pub(super) async fn brokers(config: &Config) -> Result<Brokers, Error> {
    let mut brokers = Brokers::new();
    for (name, broker) in &config.brokers {
        brokers.insert(name.as_str().into(), broker_of(name, broker).await?);
    }
    Ok(brokers)
}

async fn broker_of(name: &str, broker: &config::Broker) -> Result<Arc<dyn Broker>, Error> {
    let refused = |reason: String| Error::Broker {
        name: name.to_owned(),
        reason,
    };
    match broker {
        config::Broker::Embedded(options) => {
            let opened = Embedded::open_owner(name, options).map_err(|e| refused(e.to_string()))?;
            Ok(Arc::new(opened))
        }
        #[cfg(feature = "redis")]
        config::Broker::Redis(options) => {
            let opened = RedisBroker::open(Options::of(name, options))
                .map_err(|e| refused(e.to_string()))?;
            Ok(Arc::new(opened))
        }
        #[cfg(feature = "kafka")]
        config::Broker::Kafka(options) => {
            let opened = KafkaBroker::open(name, options).map_err(|e| refused(e.to_string()))?;
            Ok(Arc::new(opened))
        }
        #[cfg(feature = "rabbitmq")]
        config::Broker::RabbitMq(options) => {
            let opened = RabbitBroker::open(name, options).map_err(|e| refused(e.to_string()))?;
            Ok(Arc::new(opened))
        }
        #[cfg(feature = "nats")]
        config::Broker::Nats(options) => {
            let opened = NatsBroker::open(name, options).map_err(|e| refused(e.to_string()))?;
            Ok(Arc::new(opened))
        }
    }
}
