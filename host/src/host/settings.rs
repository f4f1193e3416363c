//! From the configuration to what the plugin room takes.

use std::collections::BTreeMap;

use crate::config::{self, Config};
use crate::host::machine;
use crate::plugin::{EngineSettings, Settings, settings};

/// What the engine is sized from.
pub(super) fn engine(config: &Config) -> EngineSettings {
    let workers = config.host.workers.map_or_else(machine::cores, |w| w as usize);
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

/// One plugin.
pub fn plugin(name: &str, plugin: &config::Plugin, workers: usize) -> Settings {
    let limits = &plugin.limits;
    let mut settings = Settings::new(name, &plugin.component);
    settings.digest = plugin.digest.clone();
    settings.limits = settings::Limits {
        deadline: limits.deadline,
        memory: limits.memory.as_u64(),
        output_bytes: limits.output.as_u64(),
        outputs: limits.outputs,
        log_bytes: u32::try_from(limits.log.as_u64()).unwrap_or(u32::MAX),
        log_lines_per_second: limits.log_rate,
    };
    settings.isolation = match plugin.isolation {
        config::Isolation::Instance => settings::Isolation::Instance,
        config::Isolation::Message => settings::Isolation::Message,
    };
    settings.recycle = settings::Recycle {
        messages: plugin.recycle.messages,
        idle: plugin.recycle.idle,
    };
    settings.instances = instances(plugin, workers);
    settings.config = granted_config(&plugin.grants);
    settings.provide = settings::Provide {
        origin: plugin.provide.origin,
        headers: match &plugin.provide.headers {
            config::HeaderSelection::All => settings::Headers::All,
            config::HeaderSelection::Names(names) => settings::Headers::Named(names.clone()),
        },
    };
    settings.destinations = plugin
        .publish
        .iter()
        .map(|(name, destination)| {
            let allow_topic_override = destination.allow_topic_override.clone().unwrap_or_default();
            (name.clone(), settings::Destination { allow_topic_override })
        })
        .collect();
    settings.reload = plugin.reload;
    settings.on_component_error = match plugin.on_component_error {
        config::OnComponentError::Refuse => settings::OnComponentError::Refuse,
        config::OnComponentError::LastGood => settings::OnComponentError::LastGood,
        config::OnComponentError::Skip => settings::OnComponentError::Skip,
    };
    settings
}

/// Plain values and secrets in one map: a guest asks for both through `wasi:config/store`.
fn granted_config(grants: &config::Grants) -> Option<BTreeMap<String, String>> {
    if grants.config.is_empty() && grants.secrets.is_empty() {
        return None;
    }
    let mut all = grants.config.clone();
    let secrets = grants.secrets.iter();
    all.extend(secrets.map(|(name, secret)| (name.clone(), secret.expose().to_owned())));
    Some(all)
}
