//! RabbitMQ: how to reach a server, and which exchanges and queues to make there.
//!
//! What the file says about a server can be sensible only together; [`RabbitMq::faults`] looks at that, without a server.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Secret, duration};

mod declare;
mod faults;

pub use declare::{Argument, Binding, DeadLetters, Declare, Exchange, ExchangeKind, Match, Queue};

/// RabbitMQ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RabbitMq {
    /// Where: `amqp://user:password@host:port/vhost`, `amqps://…` for TLS, or `{ file: … }` that holds it. Without a virtual
    /// host, and with `/%2f`, it is the server's default one, `/`.
    pub url: Secret,
    /// Certificates, with `amqps://`.
    #[serde(default)]
    pub tls: Tls,
    /// How often both sides show that they are alive. A connection that is silent for twice as long is given up.
    #[serde(default = "RabbitMq::heartbeat", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub heartbeat: Duration,
    /// How long a connection attempt may take.
    #[serde(default = "RabbitMq::connect_timeout", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub connect_timeout: Duration,
    /// How long the server waits for a message to be settled, as its own configuration says (`consumer_timeout` in
    /// `rabbitmq.conf`, there in milliseconds; a policy or an argument of the queue from 3.12 on). After that it closes the channel and
    /// delivers again what was in hand. What waits in the host for half of it is given back before; `limits.deadline` of plugins
    /// that read from there has to be less than half. Where the server waits for ever, write something long.
    #[serde(default = "RabbitMq::consumer_timeout", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub consumer_timeout: Duration,
    /// Of which kind the queues are that the host makes for itself: those of messages that come again, and of dead letters.
    /// Those in which messages wait for a retry are always quorum queues.
    #[serde(default)]
    pub queue_kind: QueueKind,
    /// How this host is called in the server's list of connections; without it, the machine's name.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// Exchanges and queues to make where they are missing. One that exists otherwise is left as it is, and reported.
    #[serde(default)]
    pub declare: Declare,
}

impl RabbitMq {
    fn heartbeat() -> Duration {
        Duration::from_secs(10)
    }

    fn connect_timeout() -> Duration {
        Duration::from_secs(5)
    }

    /// What the server waits unless it is told otherwise.
    fn consumer_timeout() -> Duration {
        Duration::from_secs(30 * 60)
    }

    /// RabbitMQ at this URL, everything else by default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url),
            tls: Tls::default(),
            heartbeat: Self::heartbeat(),
            connect_timeout: Self::connect_timeout(),
            consumer_timeout: Self::consumer_timeout(),
            queue_kind: QueueKind::default(),
            name: None,
            declare: Declare::default(),
        }
    }
}

/// Certificates, with `amqps://`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates (PEM) of the authorities that are trusted beside those of the machine.
    #[schemars(extend("format" = "path"))]
    pub ca: Option<PathBuf>,
    /// Our own certificate (PEM), where the server wants one.
    #[schemars(extend("format" = "path"))]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM, PKCS #8).
    #[schemars(extend("format" = "path"))]
    pub key: Option<PathBuf>,
}

/// What a queue is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// Kept by a majority of servers, and counts deliveries.
    #[default]
    Quorum,
    /// Kept by one server; can have priorities.
    Classic,
}

impl QueueKind {
    /// The value of `x-queue-type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

#[cfg(test)]
mod tests;
