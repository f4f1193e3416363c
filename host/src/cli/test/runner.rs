//! A plugin room with one plugin in it.

use std::path::Path;
use std::sync::Arc;

use super::case::Case;
use crate::cli::failure::{Failure, Result};
use crate::cli::inspect::compiler;
use crate::handler::{Handled, Handler as _};
use crate::host::machine;
use crate::plugin::{Catalog, CodeStore, EngineSettings, GuestRuntime, PluginHandle, Settings};
use crate::telemetry::Metrics;

/// One handler, ready.
pub(super) struct Runner {
    plugin: Arc<PluginHandle>,
    /// Keeps the plugin's threads.
    guests: GuestRuntime,
}

impl Runner {
    /// Loads the component. Its compiled code is kept in `cache`.
    pub(super) fn start(settings: Settings, cache: &Path) -> Result<Self> {
        let guests = GuestRuntime::start(EngineSettings {
            instances: settings.instances,
            max_memory: settings.limits.memory.as_u64(),
            guest_budget: machine::guest_memory().max(settings.limits.memory.as_u64()),
            workers: 1,
        })?;
        let store = CodeStore::open(cache, compiler()?)?;
        let catalog = Catalog::new(&guests, &store, &Metrics::new());
        let plugin = guests.handle().block_on(catalog.add(settings))?;
        Ok(Self { plugin, guests })
    }

    /// Runs one message.
    pub(super) fn run(&self, case: &Case) -> Result<Handled> {
        let plugin = Arc::clone(&self.plugin);
        let (message, attempt) = (case.message.clone(), case.attempt);
        // On the guests' own threads, as in a host: the deadline is counted there.
        let run = self
            .guests
            .handle()
            .spawn(async move { plugin.handle(&message, attempt).await });
        let done = self.guests.handle().block_on(run);
        done.map_err(|error| Failure::new(format!("{}: the host failed: {error}", case.name)))
    }
}
