//! The plugins by name, and how a version gets into one of them.
//!
//! A version is read once, hashed, compiled, linked, checked against the grants and probed beside the one in use, then
//! swapped in in one step. A bad one changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::Error;
use super::component::{check_bytes, prepare};
use super::engine::Engine;
use super::handle::PluginHandle;
use super::instance::Instance;
use super::settings::Settings;
use super::version::Version;
use crate::telemetry::Metrics;

/// Every plugin of this host.
pub struct Catalog {
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    /// Written when a plugin is added, at start.
    plugins: RwLock<BTreeMap<Arc<str>, Arc<PluginHandle>>>,
}

impl Catalog {
    /// An empty catalogue.
    pub fn new(engine: &Arc<Engine>, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::clone(engine),
            metrics: Arc::clone(metrics),
            plugins: RwLock::new(BTreeMap::new()),
        })
    }

    /// Adds a plugin and loads its component. Must run on the guest runtime.
    pub async fn add(&self, settings: Settings) -> Result<Arc<PluginHandle>, Error> {
        let metrics = self.metrics.plugin(&settings.name);
        let path = settings.component.clone();
        let plugin = PluginHandle::new(&self.engine, settings, metrics);
        self.load(&plugin, &path).await?;
        let name = Arc::clone(&plugin.settings().name);
        self.plugins.write().insert(name, Arc::clone(&plugin));
        Ok(plugin)
    }

    /// The plugin of that name.
    pub fn get(&self, name: &str) -> Option<Arc<PluginHandle>> {
        self.plugins.read().get(name).cloned()
    }

    async fn load(&self, plugin: &PluginHandle, path: &Path) -> Result<(), Error> {
        let read = |error| Error::Read {
            path: path.to_owned(),
            error,
        };
        let path = tokio::fs::canonicalize(path).await.map_err(read)?;
        let bytes = tokio::fs::read(&path).await.map_err(read)?;
        check_bytes(&bytes)?;
        let digest: Arc<str> = format!("sha256:{:x}", Sha256::digest(&bytes)).into();
        let component = Component::new(self.engine.wasmtime(), &bytes)
            .map_err(|error| Error::Compile(format!("{error:#}")))?;
        let config = plugin.settings().config.is_some();
        let prepared = prepare(&self.engine, &component, config)?;
        let version = Version::new(digest, path, prepared);
        let probe = Box::pin(Instance::create(
            &self.engine,
            &plugin.parts.without_grants(),
            &version,
        ))
        .await;
        probe.map_err(|fault| Error::Probe(fault.message))?;
        plugin.install(version);
        Ok(())
    }
}
