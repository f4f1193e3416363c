//! What this room must know of one plugin, as plain values that were checked when the configuration was read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One plugin.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Configured name.
    pub name: Arc<str>,
    /// The component's file. A symbolic link is resolved at every load.
    pub component: PathBuf,
    /// The digest the component must have (`sha256:` and 64 hex digits), where it is pinned.
    pub digest: Option<String>,
    /// What one call may use.
    pub limits: Limits,
    /// Whether an instance sees more than one message.
    pub isolation: Isolation,
    /// When an instance is thrown away although nothing is wrong with it.
    pub recycle: Recycle,
    /// Sandboxes at most, at least 1.
    pub instances: u32,
    /// What `wasi:config/store` answers. `None`: the import is not granted.
    pub config: Option<BTreeMap<String, String>>,
    /// Which parts of a message are passed.
    pub provide: Provide,
    /// Where it may publish.
    pub destinations: BTreeMap<String, Destination>,
    /// Whether a changed file is taken up while running.
    pub reload: bool,
    /// What to do at start where the component cannot be loaded.
    pub on_component_error: OnComponentError,
}

impl Settings {
    /// A plugin with the defaults of the configuration, no destination and no grant.
    pub fn new(name: impl Into<Arc<str>>, component: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            component: component.into(),
            digest: None,
            limits: Limits::default(),
            isolation: Isolation::Instance,
            recycle: Recycle::default(),
            instances: 2,
            config: None,
            provide: Provide::default(),
            destinations: BTreeMap::new(),
            reload: true,
            on_component_error: OnComponentError::Refuse,
        }
    }
}

/// What one call, and one instance, may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Run time of the guest and its host calls. Waiting for a turn is not charged.
    pub deadline: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory: u64,
    /// Bytes of all outputs of one call: payloads, keys, headers and the other fields.
    pub output_bytes: u64,
    /// Outputs of one call.
    pub outputs: u32,
    /// Bytes of stdout and stderr shown for one message.
    pub log_bytes: u32,
    /// Lines of stdout and stderr shown for one plugin in a second.
    pub log_lines_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            memory: 128 << 20,
            output_bytes: 1 << 20,
            outputs: 1000,
            log_bytes: 64 << 10,
            log_lines_per_second: 500,
        }
    }
}

/// Whether an instance sees more than one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// A fresh instance for every message: nothing is remembered.
    Message,
    /// Instances are used again. No state is promised between messages.
    Instance,
}

/// When a healthy instance is replaced. Half the memory limit replaces it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recycle {
    /// After about this many messages; each instance draws its own number within a quarter of it, so that they do not
    /// expire together.
    pub messages: u32,
    /// After this long without a message.
    pub idle: Duration,
}

impl Default for Recycle {
    fn default() -> Self {
        Self {
            messages: 128,
            idle: Duration::from_secs(30),
        }
    }
}

/// Which parts of a message are passed. Each header costs a call some 165 ns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provide {
    /// Pass where the message was read.
    pub origin: bool,
    /// Which headers.
    pub headers: Headers,
}

/// Which headers are passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Headers {
    /// All of them.
    #[default]
    All,
    /// Those of these names.
    Named(Vec<String>),
}

/// One granted destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// Topics the handler may name instead of the configured one. `*` stands for any run of characters; none: none.
    pub allow_topic_override: Vec<String>,
}

impl Destination {
    /// Whether the handler may publish to `topic` here.
    pub fn allows(&self, topic: &str) -> bool {
        self.allow_topic_override
            .iter()
            .any(|pattern| matches(pattern, topic))
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What to do at start where a component cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnComponentError {
    /// The host does not start.
    Refuse,
    /// Run the last version of this plugin that worked, from the cache.
    LastGood,
    /// Start without this plugin's version: its messages wait.
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_patterns() {
        for (pattern, text, fits) in [
            ("orders", "orders", true),
            ("orders", "orders.eu", false),
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders", false),
            ("*", "", true),
            ("*.eu", "orders.eu", true),
            ("*.eu", "orders.eu.x", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
