//! Opens components and brokers.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::broker::embedded::Embedded;
use crate::config::{self, Config};
use crate::host::{Brokers, Error, machine, settings};
use crate::plugin::{Catalog, GuestRuntime};
use crate::ports::Broker;

/// Loads every component, as many at once as there are cores. Reports all that cannot run.
pub(super) async fn plugins(config: &Config, catalog: &Arc<Catalog>, guests: &GuestRuntime) -> Result<(), Error> {
    let workers = settings::engine(config).workers;
    let turns = Arc::new(Semaphore::new(machine::cores()));
    let loads = config.plugins.iter().map(|(name, plugin)| {
        let (catalog, turns) = (Arc::clone(catalog), Arc::clone(&turns));
        let settings = settings::plugin(name, plugin, workers);
        // On the guests' runtime: loading ends with a probe, which runs guest code.
        let load = guests.handle().spawn(async move {
            let _turn = turns.acquire().await;
            catalog.add(settings).await.map(|_handle| ())
        });
        async move {
            match load.await {
                Ok(result) => result.map_err(|error| (name.clone(), error)),
                Err(panic) => Err((name.clone(), crate::plugin::Error::Engine(panic.to_string()))),
            }
        }
    });
    let failed: Vec<_> = join_all(loads).await.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::Components(failed)) }
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
            let opened = crate::broker::redis::Redis::open(name, options).await.map_err(|e| refused(e.to_string()))?;
            Ok(Arc::new(opened))
        }
        #[cfg(not(feature = "redis"))]
        config::Broker::Redis(_) => Err(refused("this build of wharf has no Redis; build it with `--features redis`".into())),
    }
}
