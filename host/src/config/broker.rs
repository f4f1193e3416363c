//! The brokers: one struct per type.
//!
//! A type that was not compiled in has no variant, so the rest of the host cannot meet it; the name is still known to
//! `structure`, which says what to do.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Places, duration, place};

#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(super) mod faults;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;

/// A named connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Broker {
    /// Durable topics in one local file.
    Embedded(Embedded),
    /// Redis streams.
    #[cfg(feature = "redis")]
    Redis(Box<redis::Redis>),
    /// Kafka.
    #[cfg(feature = "kafka")]
    Kafka(Box<kafka::Kafka>),
    /// RabbitMQ.
    #[cfg(feature = "rabbitmq")]
    RabbitMq(Box<rabbitmq::RabbitMq>),
    /// NATS, core and JetStream.
    #[cfg(feature = "nats")]
    Nats(Box<nats::Nats>),
}

impl Broker {
    /// The type as it is written in the file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            #[cfg(feature = "redis")]
            Self::Redis(_) => "redis",
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => "kafka",
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(_) => "rabbitmq",
            #[cfg(feature = "nats")]
            Self::Nats(_) => "nats",
        }
    }

    /// The places it has.
    #[must_use]
    pub fn places(&self) -> &'static Places {
        place::of(self.kind())
    }
}

/// Durable topics in one local file, owned by one running host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// The file, relative to the file that names it; made when it does not exist. Network file systems are refused.
    #[schemars(extend("format" = "path"), length(min = 1))]
    pub path: PathBuf,
    /// How long a message is kept after every group settled it; without it, it is deleted then.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub retention: Option<Duration>,
    /// The largest message that is taken.
    #[serde(default = "Embedded::max_message")]
    pub max_message: ByteSize,
    /// What a confirmed message survives.
    #[serde(default)]
    pub sync: Sync,
}

impl Embedded {
    fn max_message() -> ByteSize {
        ByteSize::mib(64)
    }

    /// The embedded broker on this file, everything else by default.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            retention: None,
            max_message: Self::max_message(),
            sync: Sync::default(),
        }
    }
}

/// What a confirmed message survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// A loss of power.
    #[default]
    Full,
    /// A crash of the host; a loss of power may take the last moments.
    Normal,
}
