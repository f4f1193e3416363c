//! A plugin: its component, where its messages come from and go to, and how it is run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::{Breaker, DeadLetter, DeadLetterTarget, Isolation, Limits, Recycle, Retry};
use super::{ByteSize, Defaults, Secret, place, schema};

mod destination;
mod subscription;

pub use destination::Destination;
pub use subscription::{PayloadField, Start, Subscription};

/// A named handler.
///
/// The keys from `order` on can also be set once for all plugins in `defaults`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The component's file, relative to the file that names it.
    #[schemars(extend("format" = "path"), length(min = 1))]
    pub component: PathBuf,
    /// What the component's bytes must hash to: `sha256:` and 64 hexadecimal digits.
    #[serde(default)]
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"), extend("format" = "digest"))]
    pub digest: Option<String>,
    /// Where messages come from, by name.
    #[schemars(schema_with = "schema::names::<Subscription>")]
    pub subscribe: BTreeMap<String, Subscription>,
    /// Where the handler may publish, by the name it uses. `reply` is reserved for answering a message's `reply-to`.
    #[serde(default)]
    #[schemars(schema_with = "schema::names::<Destination>")]
    pub publish: BTreeMap<String, Destination>,
    /// What else the handler is allowed.
    #[serde(default)]
    pub grants: Grants,
    /// Which messages are handled in the order they came.
    #[serde(default)]
    pub order: Order,
    /// Messages in hand at once, of each subscription, waiting and running: 1 to 65,536.
    #[serde(default = "Defaults::concurrency")]
    #[schemars(range(min = 1, max = 65_536))]
    pub concurrency: u32,
    /// Their bytes at most; one message is always taken.
    #[serde(default = "Defaults::concurrency_bytes")]
    pub concurrency_bytes: ByteSize,
    /// Sandboxes at most; without it, one per core.
    #[serde(default)]
    #[schemars(range(min = 1, max = 4096))]
    pub instances: Option<u32>,
    /// How failures are tried again.
    #[serde(default)]
    pub retry: Retry,
    /// Where messages go that are not tried again; without it, `dlq.{subscription}.{plugin}` beside the subscription.
    #[serde(default)]
    pub dead_letter: Option<DeadLetter>,
    /// Whether the messages behind a dead one go on.
    #[serde(default)]
    pub on_dead_letter: OnDeadLetter,
    /// When to give the plugin a rest; without it, never. `{}` takes the defaults.
    #[serde(default)]
    pub breaker: Option<Breaker>,
    /// What one call may use.
    #[serde(default)]
    pub limits: Limits,
    /// Whether an instance may see a second message.
    #[serde(default)]
    pub isolation: Isolation,
    /// When an instance is replaced although nothing went wrong.
    #[serde(default)]
    pub recycle: Recycle,
    /// Which parts of a message are passed that cost time and are seldom read.
    #[serde(default)]
    pub provide: Provide,
    /// What happens when the component cannot be loaded at start.
    #[serde(default)]
    pub on_component_error: OnComponentError,
    /// A message that the broker delivered more often than this goes to the dead letters unrun, because it kills hosts.
    #[serde(default = "Defaults::max_deliveries")]
    #[schemars(range(min = 1))]
    pub max_deliveries: u32,
    /// What is left out of dead letters and logs.
    #[serde(default)]
    pub redact: Redact,
    /// Whether a changed component file is loaded while running.
    #[serde(default = "Defaults::reload")]
    pub reload: bool,
}

impl Plugin {
    /// Where the dead letters of this plugin's `subscription` go; `name` is the plugin's own name.
    #[must_use]
    pub fn dead_letter_target(&self, name: &str, subscription: &str) -> Option<DeadLetterTarget> {
        let source = self.subscribe.get(subscription)?;
        let configured = self.dead_letter.as_ref();
        let broker = configured
            .and_then(|dead| dead.broker.as_ref())
            .unwrap_or(&source.broker);
        let pattern = configured.and_then(|dead| place::first(&dead.names()));
        let named = pattern.map(|(kind, _)| kind);
        let target = pattern.map_or("dlq.{subscription}.{plugin}", |(_, name)| name);
        let target = target
            .replace("{subscription}", subscription)
            .replace("{plugin}", name);
        Some(DeadLetterTarget {
            broker: broker.clone(),
            name: target,
            named,
        })
    }
}

/// Which messages are handled in the order they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// None.
    #[default]
    None,
    /// Those with the same key.
    Key,
    /// All of one subscription.
    Source,
}

/// Whether the messages behind a dead one go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDeadLetter {
    /// They do.
    #[default]
    Continue,
    /// Their lane stops until someone decides.
    Halt,
}

/// What happens when a component cannot be loaded at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnComponentError {
    /// The host does not start.
    #[default]
    Refuse,
    /// The last version that worked is used; without one, the host does not start.
    LastGood,
    /// The host starts without this plugin.
    Skip,
}

/// What a handler is allowed beyond its messages and its destinations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Settings, read through `wasi:config/store`.
    pub config: BTreeMap<String, String>,
    /// Settings that are never shown, read the same way.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether it may answer: an output to `reply` goes to the message's `reply-to`, on the broker the message came from.
    pub reply: bool,
}

/// Which parts of a message are passed that cost time and are seldom read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Provide {
    /// Where the message stood: broker, source, partition, position.
    pub origin: bool,
    /// The headers.
    pub headers: HeaderSelection,
}

/// Which headers are passed to a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeaderSelection {
    /// All of them.
    #[default]
    All,
    /// Those of these names, case-insensitively.
    Names(Vec<String>),
}

impl Serialize for HeaderSelection {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderSelection {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Word {
            All,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(Word),
            Names(Vec<String>),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Word(Word::All) => Self::All,
            Written::Names(names) => Self::Names(names),
        })
    }
}

impl JsonSchema for HeaderSelection {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderSelection".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`all`, or a list of header names.",
            "anyOf": [
                { "type": "string", "enum": ["all"] },
                { "type": "array", "items": { "type": "string", "minLength": 1 } }
            ]
        })
    }
}

/// What is left out of dead letters and logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redact {
    /// The values of these headers.
    pub headers: Vec<String>,
    /// The payload.
    pub payload: bool,
    /// What the handler said.
    pub reason: bool,
}
