//! What every instance of one plugin shares.

use std::sync::Arc;

use wasmtime_wasi_config::WasiConfigVariables;

use super::logs::Rate;
use super::settings::Settings;
use super::turns::PluginId;
use crate::telemetry::PluginMetrics;

/// Settings and shared counters of one plugin.
pub(super) struct Parts {
    pub(super) id: PluginId,
    pub(super) settings: Settings,
    pub(super) rate: Arc<Rate>,
    pub(super) metrics: Arc<PluginMetrics>,
    pub(super) config: Arc<WasiConfigVariables>,
}

impl Parts {
    pub(super) fn new(id: PluginId, settings: Settings, metrics: Arc<PluginMetrics>) -> Self {
        let config = settings.config.clone();
        Self {
            id,
            rate: Rate::new(settings.limits.log_rate),
            metrics,
            config: Arc::new(config.into_iter().collect()),
            settings,
        }
    }

    /// The same without grants, for a probe.
    pub(super) fn without_grants(&self) -> Self {
        Self {
            id: self.id,
            settings: self.settings.clone(),
            rate: Arc::clone(&self.rate),
            metrics: Arc::clone(&self.metrics),
            config: Arc::new(WasiConfigVariables::new()),
        }
    }

    /// How many messages the next instance takes: the configured number, give or take a quarter.
    pub(super) fn messages_per_instance(&self) -> u32 {
        let messages = self.settings.recycle.messages.max(1);
        let quarter = messages / 4;
        fastrand::u32(messages - quarter..=messages.saturating_add(quarter)).max(1)
    }
}
