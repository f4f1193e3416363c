//! The configuration: `wharf.yaml`, the files beside it, and everything that can be wrong with them.
//!
//! **Shape.** A file goes through five steps, each in its own module, and every step that can fail collects all of its
//! errors instead of stopping at the first: YAML text → tree with spans (`tree`) → variables (`variables`)
//! → structure (`structure`), checked against the JSON Schema that `schemars` derives from the structs below →
//! those structs, by serde → sense (`check`), the rules that need two places at once. Only a configuration without
//! a single error leaves `load`. Spans live in the tree and never in the structs, so the rest of the host sees plain
//! data.
//!
//! **Bounds.** One file may be 1 MiB and nest 64 deep; aliases are refused, so text cannot expand.
//!
//! **Surprises.** `defaults` are merged into every plugin on the tree, key by key, before the structs exist: a plugin
//! that sets only `retry.max_retries` keeps the other keys of `defaults.retry`. Lists are replaced, never joined.
//! Variables are resolved after parsing, so a value can hold any text and still never add a key.
//!
//! Nothing here depends on another room, and nothing here acts: it reads files and answers.

mod broker;
mod defaults;
mod duration;
mod host;
mod plugin;
mod policy;
mod secret;
mod size;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::broker::{Broker, Embedded, Redis, Sync};
pub use self::defaults::Defaults;
pub use self::duration::parse as parse_duration;
pub use self::host::{Admin, Host, Log, LogFormat, MaxInFlight, Readiness, Telemetry};
pub use self::plugin::{
    Destination, Grants, HeaderSelection, OnComponentError, OnDeadLetter, Order, PayloadField,
    Plugin, Provide, Redact, Start, Subscription,
};
pub use self::policy::{Breaker, DeadLetter, DeadLetterTarget, Isolation, Limits, Recycle, Retry};
pub use self::secret::Secret;
pub use self::size::ByteSize;

/// A whole configuration, checked: every reference resolves, every path is absolute, every default is filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// What every plugin has unless it says otherwise, key by key.
    #[serde(default)]
    pub defaults: Defaults,
    /// The brokers, by name.
    #[serde(default)]
    #[schemars(schema_with = "names::<Broker>")]
    pub brokers: BTreeMap<String, Broker>,
    /// The plugins, by name.
    #[serde(default)]
    #[schemars(schema_with = "names::<Plugin>")]
    pub plugins: BTreeMap<String, Plugin>,
    /// Where metrics and health are served.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Where the host is administered.
    #[serde(default)]
    pub admin: Admin,
    /// What the process may use.
    #[serde(default)]
    pub host: Host,
    /// The log.
    #[serde(default)]
    pub log: Log,
}

/// The schema of a map whose keys are names.
///
/// Names end up in topic names, metric labels and file names, which is why they are kept so plain.
pub(crate) fn names<T: JsonSchema>(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let value = generator.subschema_for::<T>();
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": value,
        "propertyNames": { "pattern": "^[a-z0-9][a-z0-9._-]{0,127}$" }
    })
}

/// The JSON Schema of a configuration file, for editors and for `wharf schema`.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}
