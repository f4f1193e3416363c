//! The plugins by name, and how a version gets into one of them.
//!
//! A version is read once, hashed, compiled, linked, checked against the grants and probed beside the one in use, then
//! swapped in in one step. A bad one changes nothing. All of it runs on the guest runtime, wherever it is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::runtime::Handle;
use wasmtime::component::Component;

use super::Error;
use super::component::{check_bytes, prepare};
use super::engine::Engine;
use super::handle::PluginHandle;
use super::instance::Instance;
use super::reload::Stamp;
use super::runtime::GuestRuntime;
use super::settings::{OnComponentError, Settings};
use super::store::{CodeStore, Source};
use super::version::Version;
use crate::telemetry::Metrics;

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// There was no version before: calls run on this digest now.
    First(Arc<str>),
    /// New calls run on this digest now, instead of another.
    To(Arc<str>),
    /// The file holds what already runs.
    Unchanged(Arc<str>),
}

/// Every plugin of this host.
pub struct Catalog {
    engine: Arc<Engine>,
    runtime: Handle,
    store: Arc<CodeStore>,
    metrics: Arc<Metrics>,
    /// Written when a plugin is added, at start.
    plugins: RwLock<BTreeMap<Arc<str>, Arc<PluginHandle>>>,
}

impl Catalog {
    /// An empty catalogue.
    pub fn new(
        runtime: &GuestRuntime,
        store: &Arc<CodeStore>,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::clone(runtime.engine()),
            runtime: runtime.handle().clone(),
            store: Arc::clone(store),
            metrics: Arc::clone(metrics),
            plugins: RwLock::new(BTreeMap::new()),
        })
    }

    /// Adds a plugin and loads its component.
    ///
    /// # Errors
    ///
    /// Where the component is refused and the plugin's `on_component_error` leaves it at that.
    pub async fn add(self: &Arc<Self>, settings: Settings) -> Result<Arc<PluginHandle>, Error> {
        let metrics = self.metrics.plugin(&settings.name);
        let plugin = PluginHandle::new(&self.engine, settings, metrics);
        let path = plugin.settings().component.clone();
        if let Err(error) = self.swap_plugin(&plugin, path).await {
            self.without_component(&plugin, error).await?;
        }
        let name = Arc::clone(&plugin.settings().name);
        self.plugins.write().insert(name, Arc::clone(&plugin));
        Ok(plugin)
    }

    /// Does what the plugin's configuration says where its component is refused.
    async fn without_component(
        self: &Arc<Self>,
        plugin: &Arc<PluginHandle>,
        error: Error,
    ) -> Result<(), Error> {
        let name = &*plugin.settings().name;
        match plugin.settings().on_component_error {
            OnComponentError::Refuse => Err(error),
            OnComponentError::Skip => {
                tracing::error!(plugin = name, %error, "the plugin has no version: its messages wait");
                Ok(())
            }
            OnComponentError::LastGood => {
                let Some(digest) = self.store.last_good(name) else {
                    return Err(error);
                };
                tracing::error!(plugin = name, %error, version = &*digest, "the last version that worked is used");
                let this = Arc::clone(self);
                let plugin = Arc::clone(plugin);
                self.on_guests(async move {
                    let component = this.store.cached(this.engine.wasmtime(), &digest).await;
                    let component = component.ok_or(error)?;
                    let path = plugin.settings().component.clone();
                    this.install(&plugin, &component, (digest, path, None))
                        .await
                })
                .await
            }
        }
    }

    /// The plugin of that name.
    pub fn get(&self, name: &str) -> Option<Arc<PluginHandle>> {
        self.plugins.read().get(name).cloned()
    }

    /// All plugins, by name.
    pub fn all(&self) -> Vec<Arc<PluginHandle>> {
        self.plugins.read().values().cloned().collect()
    }

    /// Loads `path` into the plugin, or its configured file again. A version that is refused changes nothing.
    ///
    /// # Errors
    ///
    /// Why the version was refused; the same is logged and counted.
    pub async fn swap(
        self: &Arc<Self>,
        name: &str,
        path: Option<PathBuf>,
    ) -> Result<Swapped, Error> {
        let plugin = self.get(name).ok_or_else(|| Error::NoPlugin(name.into()))?;
        let path = path.unwrap_or_else(|| plugin.settings().component.clone());
        self.swap_plugin(&plugin, path).await
    }

    /// Loads the file of every plugin again, whether it looks changed or not. What is refused is logged and counted.
    pub async fn reload_all(self: &Arc<Self>) {
        for plugin in self.all() {
            let path = plugin.settings().component.clone();
            // Logged and counted where it happened.
            let _refused = self.swap_plugin(&plugin, path).await.is_err();
        }
    }

    async fn swap_plugin(
        self: &Arc<Self>,
        plugin: &Arc<PluginHandle>,
        path: PathBuf,
    ) -> Result<Swapped, Error> {
        // One version at a time: the last file asked for is the one that stays.
        let _turn = plugin.swapping.lock().await;
        let this = Arc::clone(self);
        let to = Arc::clone(plugin);
        let result = {
            let path = path.clone();
            self.on_guests(async move { this.load(&to, path).await })
                .await
        };
        let name = &*plugin.settings().name;
        let metrics = &plugin.parts.metrics;
        match &result {
            Ok(loaded @ (Swapped::First(version) | Swapped::To(version))) => {
                if matches!(loaded, Swapped::To(_)) {
                    metrics.swapped.inc();
                }
                tracing::info!(plugin = name, version = &**version, path = %path.display(), "version loaded");
            }
            Ok(Swapped::Unchanged(_)) => {}
            Err(error) => {
                metrics.swaps_refused.inc();
                tracing::error!(plugin = name, path = %path.display(), %error, "version refused: the one in use, if any, stays");
            }
        }
        result
    }

    async fn on_guests<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.runtime.spawn(work).await;
        done.unwrap_or(Err(Error::Stopping))
    }

    async fn load(&self, plugin: &PluginHandle, path: PathBuf) -> Result<Swapped, Error> {
        let source = read(path).await?;
        check_bytes(&source.bytes)?;
        if let Some(wanted) = &plugin.settings().digest
            && **wanted != *source.digest
        {
            return Err(Error::Digest {
                wanted: wanted.clone(),
                found: source.digest.to_string(),
            });
        }
        if plugin
            .current()
            .is_some_and(|version| version.digest == source.digest)
        {
            return Ok(Swapped::Unchanged(source.digest));
        }
        let first = plugin.current().is_none();
        let component = self
            .store
            .component(self.engine.wasmtime(), &source)
            .await?;
        let digest = Arc::clone(&source.digest);
        let from = (source.digest, source.path, source.stamp);
        self.install(plugin, &component, from).await?;
        let name = &*plugin.settings().name;
        if self.store.last_good(name).as_deref() != Some(&*digest)
            && let Err(error) = self.store.remember(name, &digest)
        {
            tracing::warn!(plugin = name, %error, "the version cannot be noted as the last good one");
        }
        Ok(if first {
            Swapped::First(digest)
        } else {
            Swapped::To(digest)
        })
    }

    /// Links, checks and probes, then swaps in.
    async fn install(
        &self,
        plugin: &PluginHandle,
        component: &Component,
        (digest, path, stamp): (Arc<str>, PathBuf, Option<Stamp>),
    ) -> Result<(), Error> {
        let config = !plugin.settings().config.is_empty();
        let prepared = prepare(&self.engine, component, config)?;
        let version = Version::new(digest, path, stamp, prepared);
        // With the limits of the plugin and none of its grants; dropped at once.
        let probe = plugin.parts.without_grants();
        Box::pin(Instance::create(&self.engine, &probe, &version))
            .await
            .map_err(|fault| Error::Probe(fault.message))?;
        plugin.install(version);
        Ok(())
    }
}

async fn read(path: PathBuf) -> Result<Source, Error> {
    let reading = path.clone();
    let done = tokio::task::spawn_blocking(move || Source::read(&reading)).await;
    done.unwrap_or_else(|error| {
        Err(Error::Read {
            path,
            error: std::io::Error::other(error),
        })
    })
}
