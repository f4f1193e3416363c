//! What is sized from the configuration as a whole.

use crate::config::{self, Config};
use crate::host::machine;
use crate::plugin::EngineSettings;

/// Threads that run guests.
pub(super) fn workers(config: &Config) -> usize {
    config
        .host
        .workers
        .map_or_else(machine::cores, |w| w as usize)
}

/// What the engine is sized from.
pub(super) fn engine(config: &Config) -> EngineSettings {
    let workers = workers(config);
    EngineSettings {
        instances: config.plugins.values().map(|p| instances(p, workers)).sum(),
        max_memory: config
            .plugins
            .values()
            .map(|p| p.limits.memory.as_u64())
            .max()
            .unwrap_or(0),
        guest_budget: config
            .host
            .guest_memory
            .map_or_else(machine::guest_memory, |m| m.as_u64()),
        workers,
    }
}

/// Sandboxes of one plugin at most: as configured, or one per thread that runs guests.
pub(super) fn instances(plugin: &config::Plugin, workers: usize) -> u32 {
    plugin
        .instances
        .unwrap_or_else(|| u32::try_from(workers).unwrap_or(u32::MAX))
        .max(1)
}
