//! What this room must know of one plugin, taken from the checked configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config;
pub use crate::config::{HeaderSelection, Isolation, Limits, OnComponentError, Provide, Recycle};

/// One plugin.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Configured name.
    pub name: Arc<str>,
    /// The component's file. Symbolic links are resolved at every load.
    pub component: PathBuf,
    /// The digest the component must have (`sha256:` and 64 hex digits), where it is pinned.
    pub digest: Option<String>,
    /// What one call, and one instance, may use.
    pub limits: Limits,
    /// Whether an instance sees more than one message.
    pub isolation: Isolation,
    /// When an instance is thrown away although nothing is wrong with it.
    pub recycle: Recycle,
    /// Sandboxes at most, at least 1.
    pub instances: u32,
    /// What `wasi:config/store` answers, secrets included. Empty: the import is not granted.
    pub config: BTreeMap<String, String>,
    /// Which parts of a message are passed.
    pub provide: Provide,
    /// Where it may publish, and which topics it may name there instead of the configured one: exact names, or a
    /// beginning followed by `*`.
    pub destinations: BTreeMap<String, Vec<String>>,
    /// Whether it may answer a message's `reply-to`.
    pub reply: bool,
    /// Whether it may publish anywhere, under any topic: only where nothing is published, as in `wharf test`.
    pub any_destination: bool,
    /// Whether a changed file is taken up while running.
    pub reload: bool,
    /// What to do at start where the component cannot be loaded.
    pub on_component_error: OnComponentError,
}

impl Settings {
    /// The plugin called `name` as configured. `cores` is how many instances it has where it does not say.
    pub fn new(name: &str, plugin: &config::Plugin, cores: u32) -> Self {
        let grants = &plugin.grants;
        let secrets = grants
            .secrets
            .iter()
            .map(|(name, secret)| (name.clone(), secret.expose().to_owned()));
        Self {
            name: name.into(),
            component: plugin.component.clone(),
            digest: plugin.digest.clone(),
            limits: plugin.limits.clone(),
            isolation: plugin.isolation,
            recycle: plugin.recycle.clone(),
            instances: plugin.instances.unwrap_or(cores).max(1),
            config: grants.config.clone().into_iter().chain(secrets).collect(),
            provide: plugin.provide.clone(),
            destinations: plugin
                .publish
                .iter()
                .map(|(name, to)| {
                    (
                        name.clone(),
                        to.allow_topic_override.clone().unwrap_or_default(),
                    )
                })
                .collect(),
            reply: grants.reply,
            any_destination: false,
            reload: plugin.reload,
            on_component_error: plugin.on_component_error,
        }
    }

    /// A plugin with the defaults of the configuration, two instances, no destination and no grant.
    pub fn bare(name: &str, component: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            component: component.into(),
            digest: None,
            limits: Limits::default(),
            isolation: Isolation::default(),
            recycle: Recycle::default(),
            instances: 2,
            config: BTreeMap::new(),
            provide: Provide::default(),
            destinations: BTreeMap::new(),
            reply: false,
            any_destination: false,
            reload: true,
            on_component_error: OnComponentError::default(),
        }
    }
}

/// Whether `topic` is one of `allowed`: exact names, or a beginning followed by `*`.
pub(super) fn allows(allowed: &[String], topic: &str) -> bool {
    allowed
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => topic.starts_with(beginning),
            None => topic == pattern,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_patterns() {
        let allowed = ["orders".to_owned(), "audit.*".to_owned()];
        for (topic, fits) in [
            ("orders", true),
            ("orders.eu", false),
            ("audit.eu", true),
            ("audit", false),
            ("", false),
        ] {
            assert_eq!(allows(&allowed, topic), fits, "{topic}");
        }
        assert!(!allows(&[], "orders"));
    }
}
