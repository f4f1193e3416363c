//! Kafka: how to reach a cluster, how to be a member of its groups, and which topics to make.
//!
//! What has a key here is set by this key alone; anything else the client knows goes through `properties`, but for what
//! the host's guarantees rest on ([`Kafka::refusal`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, Secret, duration};

mod refused;

pub use refused::topic_problem;

/// Kafka.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// Where to begin: `host:port`, more than one separated by commas. The other brokers are found through them.
    #[schemars(length(min = 1))]
    pub bootstrap_servers: String,
    /// How members of a group share its partitions. All members of a group must speak the same; while a group moves from
    /// one to the other, its servers must be 4.0 or newer.
    #[serde(default)]
    pub group_protocol: GroupProtocol,
    /// A name for this host in its groups that outlives a restart, `wharf-0` say, so that a restart within
    /// `session_timeout` moves no partition. Every host needs its own: two of one name throw each other out.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub instance_id: Option<String>,
    /// How long a host that stopped answering keeps its partitions; without it, 45s. Servers have limits of their own, 6s to
    /// 30m unless changed. With `group_protocol: consumer` it is set at the server.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub session_timeout: Option<Duration>,
    /// How the connection is secured, and who we are.
    #[serde(default)]
    pub security: Security,
    /// How outputs are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Which partition a key belongs to.
    #[serde(default)]
    pub partitioner: Partitioner,
    /// How long an output waits for others to be sent with. Outputs that are ready together are sent together all the same.
    #[serde(default = "Kafka::linger", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub linger: Duration,
    /// How long the client tries to deliver an output before the host holds it and tries again itself.
    #[serde(default = "Kafka::delivery_timeout", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub delivery_timeout: Duration,
    /// Other settings of the client (librdkafka), by its names. What the host relies on is refused.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
    /// Topics to make where they are missing, by name. One that exists is left as it is; a difference is reported.
    #[serde(default)]
    pub declare: BTreeMap<String, Topic>,
}

impl Kafka {
    fn linger() -> Duration {
        Duration::from_millis(1)
    }

    fn delivery_timeout() -> Duration {
        Duration::from_secs(30)
    }

    /// Kafka at these addresses, everything else by default.
    #[must_use]
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            group_protocol: GroupProtocol::default(),
            instance_id: None,
            session_timeout: None,
            security: Security::default(),
            compression: Compression::default(),
            partitioner: Partitioner::default(),
            linger: Self::linger(),
            delivery_timeout: Self::delivery_timeout(),
            properties: BTreeMap::new(),
            declare: BTreeMap::new(),
        }
    }
}

/// How members of a group share its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// Members agree among themselves; cooperative, so that partitions that stay are not interrupted.
    #[default]
    Classic,
    /// The server decides (KIP-848). Needs servers of 4.0 or newer.
    Consumer,
}

/// How the connection is secured, and who we are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// Whether the connection is encrypted, and whether we say who we are.
    pub protocol: SecurityProtocol,
    /// How we say who we are, with `sasl_plaintext` and `sasl_ssl`.
    pub mechanism: Option<Mechanism>,
    /// The user, with `sasl_plaintext` and `sasl_ssl`.
    pub username: Option<String>,
    /// Its password, or `{ file: … }` that holds it.
    pub password: Option<Secret>,
    /// Certificates (PEM) of the authorities that are trusted; without it, those of the machine.
    #[schemars(extend("format" = "path"))]
    pub ca: Option<PathBuf>,
    /// Our own certificate (PEM), where the servers want one.
    #[schemars(extend("format" = "path"))]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[schemars(extend("format" = "path"))]
    pub key: Option<PathBuf>,
    /// The password of the key, or `{ file: … }` that holds it.
    pub key_password: Option<Secret>,
}

/// Whether the connection is encrypted, and whether we say who we are. The words of Kafka, in small letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither.
    #[default]
    Plaintext,
    /// Encrypted; with `certificate`, we show it.
    Ssl,
    /// We say who we are, for all to hear.
    SaslPlaintext,
    /// Both.
    SaslSsl,
}

impl SecurityProtocol {
    /// The word the client takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether user and password are wanted.
    #[must_use]
    pub fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// How we say who we are. The words of Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// User and password as they are: only over an encrypted connection.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A challenge, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A challenge, with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    /// The word the client takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// How outputs are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not.
    None,
    /// Slow, and understood by everything.
    Gzip,
    /// Fast.
    Snappy,
    /// Fast, and smaller.
    #[default]
    Lz4,
    /// Smallest, for some more of the processor.
    Zstd,
}

impl Compression {
    /// The word the client takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Which partition a key belongs to. Messages without a key go to any, with each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Partitioner {
    /// As producers in Java, so that a key is in one partition whoever writes it.
    #[default]
    Murmur2Random,
    /// As other producers on librdkafka (C, Python, Go, .NET) unless told otherwise.
    ConsistentRandom,
    /// As producers on Sarama (Go).
    Fnv1aRandom,
}

impl Partitioner {
    /// The word the client takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Murmur2Random => "murmur2_random",
            Self::ConsistentRandom => "consistent_random",
            Self::Fnv1aRandom => "fnv1a_random",
        }
    }
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// How many partitions: as many hosts can share the work of one group.
    #[serde(default = "Topic::partitions")]
    #[schemars(range(min = 1, max = 100_000))]
    pub partitions: u32,
    /// On how many brokers each is kept; without it, as the servers are set up.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub replication: Option<u16>,
    /// How long messages are kept; without it, as the servers are set up.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub retention: Option<Duration>,
    /// How much of a partition is kept; without it, as the servers are set up.
    #[serde(default)]
    pub retention_bytes: Option<ByteSize>,
    /// What happens to old messages.
    #[serde(default)]
    pub cleanup: Cleanup,
    /// Other settings of the topic, by Kafka's names.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
}

impl Topic {
    fn partitions() -> u32 {
        1
    }
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            partitions: Self::partitions(),
            replication: None,
            retention: None,
            retention_bytes: None,
            cleanup: Cleanup::default(),
            properties: BTreeMap::new(),
        }
    }
}

/// What happens to old messages of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// They are deleted when `retention` is over.
    #[default]
    Delete,
    /// The newest of each key is kept for ever; a tombstone deletes its key.
    Compact,
    /// The newest of each key is kept until `retention` is over.
    CompactDelete,
}

impl Cleanup {
    /// The value of `cleanup.policy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactDelete => "compact,delete",
        }
    }
}

/// The value of a setting, as text: numbers and `true` or `false` need no quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property(pub String);

impl Serialize for Property {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Flag(bool),
            Integer(i64),
            Number(f64),
            Text(String),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Flag(flag) => flag.to_string(),
            Written::Integer(number) => number.to_string(),
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        }))
    }
}

impl JsonSchema for Property {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Property".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"], "format": "foreign" })
    }
}

#[cfg(test)]
mod tests;
