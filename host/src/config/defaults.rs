//! What every plugin has unless it says otherwise.
//!
//! The same keys with the same types stand in [`Plugin`](super::Plugin); a test compares the two schemas. They are not
//! one flattened struct because serde cannot refuse unknown keys through a flattened one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::{Breaker, DeadLetter, Isolation, Limits, Recycle, Retry};
use super::tree::{Node, Value};
use super::{ByteSize, OnComponentError, OnDeadLetter, Order, Provide, Redact};

/// What every plugin has unless it says otherwise, key by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Which messages are handled in the order they came.
    pub order: Order,
    /// Messages in hand at once, of each subscription, waiting and running: 1 to 65,536.
    #[schemars(range(min = 1, max = 65_536))]
    pub concurrency: u32,
    /// Their bytes at most; one message is always taken.
    pub concurrency_bytes: ByteSize,
    /// Sandboxes at most; without it, one per core.
    #[schemars(range(min = 1, max = 4096))]
    pub instances: Option<u32>,
    /// How failures are tried again.
    pub retry: Retry,
    /// Where messages go that are not tried again; without it, `dlq.{subscription}.{plugin}` beside the subscription.
    pub dead_letter: Option<DeadLetter>,
    /// Whether the messages behind a dead one go on.
    pub on_dead_letter: OnDeadLetter,
    /// When to give the plugin a rest; without it, never. `{}` takes the defaults.
    pub breaker: Option<Breaker>,
    /// What one call may use.
    pub limits: Limits,
    /// Whether an instance may see a second message.
    pub isolation: Isolation,
    /// When an instance is replaced although nothing went wrong.
    pub recycle: Recycle,
    /// Which parts of a message are passed that cost time and are seldom read.
    pub provide: Provide,
    /// What happens when the component cannot be loaded at start.
    pub on_component_error: OnComponentError,
    /// A message that the broker delivered more often than this goes to the dead letters unrun, because it kills hosts.
    #[schemars(range(min = 1))]
    pub max_deliveries: u32,
    /// What is left out of dead letters and logs.
    pub redact: Redact,
    /// Whether a changed component file is loaded while running.
    pub reload: bool,
}

impl Defaults {
    pub(super) fn concurrency() -> u32 {
        512
    }

    pub(super) fn concurrency_bytes() -> ByteSize {
        ByteSize::mib(16)
    }

    pub(super) fn max_deliveries() -> u32 {
        20
    }

    pub(super) fn reload() -> bool {
        true
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            order: Order::default(),
            concurrency: Self::concurrency(),
            concurrency_bytes: Self::concurrency_bytes(),
            instances: None,
            retry: Retry::default(),
            dead_letter: None,
            on_dead_letter: OnDeadLetter::default(),
            breaker: None,
            limits: Limits::default(),
            isolation: Isolation::default(),
            recycle: Recycle::default(),
            provide: Provide::default(),
            on_component_error: OnComponentError::default(),
            max_deliveries: Self::max_deliveries(),
            redact: Redact::default(),
            reload: Self::reload(),
        }
    }
}

/// Fills every plugin of a tree with what `defaults` has and the plugin has not, key by key. A `null` in a plugin stays:
/// that is how it does without something.
pub(super) fn fill_plugins(tree: &mut Node) {
    let Some(defaults) = tree.get("defaults").cloned() else {
        return;
    };
    let Value::Map(root) = &mut tree.value else {
        return;
    };
    let plugins = root.iter_mut().filter(|entry| entry.key == "plugins");
    for plugin in plugins.flat_map(|entry| entry.node.entries_mut()) {
        if matches!(plugin.node.value, Value::Map(_)) {
            fill(&mut plugin.node, &defaults);
        }
    }
}

fn fill(node: &mut Node, from: &Node) {
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    let named = entries.iter().any(|entry| is_place(&entry.key));
    for given in from.entries() {
        match entries.iter_mut().find(|entry| entry.key == given.key) {
            Some(entry) => fill(&mut entry.node, &given.node),
            // `topic` and `stream` of a dead letter are one thing under two names.
            None if named && is_place(&given.key) => {}
            None => entries.push(given.clone()),
        }
    }
}

fn is_place(key: &str) -> bool {
    key == "topic" || key == "stream"
}
