//! The configuration: `wharf.yaml`, the files beside it, and everything that can be wrong with them.
//!
//! **Shape.** A file goes through six steps, each in its own module, and every step that can fail collects all of its
//! errors instead of stopping at the first: YAML text → tree with spans (`tree`) → variables (`variables`)
//! → paths and secrets (`annotate`) → structure (`structure`), checked against the JSON Schema that `schemars` derives from the structs below →
//! those structs, by serde → sense (`check`), the rules that need two places at once. Only a configuration without
//! a single error leaves `load`. Spans live in the tree and never in the structs, so the rest of the host sees plain
//! data.
//!
//! **Bounds.** One file may be 1 MiB, nest 64 deep and, through aliases, grow to 100,000 values.
//!
//! **Surprises.** `defaults` are merged into every plugin on the tree, key by key, before the structs exist: a plugin
//! that sets only `retry.max_retries` keeps the other keys of `defaults.retry`. Lists are replaced, never joined.
//! Variables are resolved after parsing, so a value can hold any text and still never add a key.
//!
//! Nothing here depends on another room, and nothing here acts: it reads files and answers.

mod annotate;
mod broker;
mod check;
mod defaults;
mod diagnostic;
mod duration;
mod host;
mod load;
mod place;
mod plugin;
mod policy;
mod schema;
mod secret;
mod size;
mod sources;
mod structure;
mod tree;
mod variables;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "kafka")]
pub use self::broker::kafka;
#[cfg(feature = "nats")]
pub use self::broker::nats;
#[cfg(feature = "rabbitmq")]
pub use self::broker::rabbitmq;
#[cfg(feature = "redis")]
pub use self::broker::redis::{self, Redis};
pub use self::broker::{Broker, Embedded, Sync};
pub use self::defaults::Defaults;
pub use self::diagnostic::{Diagnostic, Related, Report, Severity};
pub use self::duration::parse as parse_duration;
pub use self::host::{Admin, Host, Log, LogFormat, MaxInFlight, Readiness, Telemetry};
pub use self::load::{Loaded, load};
pub use self::place::Places;
pub use self::plugin::{
    Destination, Grants, HeaderSelection, OnComponentError, OnDeadLetter, Order, PayloadField,
    Plugin, Provide, Redact, Start, Subscription,
};
pub use self::policy::{Breaker, DeadLetter, DeadLetterTarget, Isolation, Limits, Recycle, Retry};
pub use self::schema::json_schema;
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
    #[schemars(schema_with = "schema::names::<Broker>")]
    pub brokers: BTreeMap<String, Broker>,
    /// The plugins, by name.
    #[serde(default)]
    #[schemars(schema_with = "schema::names::<Plugin>")]
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
