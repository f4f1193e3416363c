//! Exchanges, queues and bindings to be made.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::QueueKind;
use crate::config::{ByteSize, duration};

/// Exchanges and queues to make where they are missing. All are durable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Declare {
    /// Exchanges, by name.
    pub exchanges: BTreeMap<String, Exchange>,
    /// Queues, by name.
    pub queues: BTreeMap<String, Queue>,
}

/// An exchange to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Exchange {
    /// How it chooses queues.
    pub kind: ExchangeKind,
    /// The exchange that gets what this one has no queue for. Such a message is not unroutable.
    pub alternate: Option<String>,
    /// Other arguments, by RabbitMQ's names.
    pub arguments: BTreeMap<String, Argument>,
}

/// How an exchange chooses queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// Those bound by the message's routing key.
    #[default]
    Direct,
    /// Those bound by a pattern the routing key fits: words between dots, `*` for one, `#` for any number.
    Topic,
    /// All.
    Fanout,
    /// Those bound by headers the message has.
    Headers,
}

impl ExchangeKind {
    /// The word the server takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
        }
    }
}

/// A queue to be made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// What it is made of.
    pub kind: QueueKind,
    /// Which messages of which exchanges it gets. Without any, those that name it.
    pub bindings: Vec<Binding>,
    /// One of its consumers gets all messages, the others wait until it is gone: what `order` needs.
    pub single_active_consumer: bool,
    /// How long a message may wait in it.
    #[serde(with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub message_ttl: Option<Duration>,
    /// The highest priority it knows, on a classic queue: up to 10 is cheap.
    #[schemars(range(min = 1, max = 255))]
    pub max_priority: Option<u8>,
    /// Where messages go that the queue itself gives up: over their time, over its length, over `delivery_limit`.
    pub dead_letter: Option<DeadLetters>,
    /// How often a message may come back before a quorum queue gives it up. Servers from 4.0 on say 20; keep it above
    /// `max_deliveries` of the plugin, which counts crashes only.
    #[schemars(range(min = 1))]
    pub delivery_limit: Option<u32>,
    /// How many messages it holds.
    #[schemars(range(min = 1))]
    pub max_length: Option<u64>,
    /// How much it holds.
    pub max_bytes: Option<ByteSize>,
    /// Other arguments, by RabbitMQ's names.
    pub arguments: BTreeMap<String, Argument>,
}

/// Which messages of an exchange a queue gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The exchange.
    #[schemars(length(min = 1))]
    pub exchange: String,
    /// The routing key, or the pattern of a topic exchange.
    #[serde(default)]
    pub routing_key: Option<String>,
    /// The headers, of a headers exchange.
    #[serde(default)]
    pub headers: BTreeMap<String, Argument>,
    /// How many of them a message must have.
    #[serde(default, rename = "match")]
    pub matching: Match,
}

/// How many headers of a binding a message must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// All of them.
    #[default]
    All,
    /// One of them.
    Any,
}

impl Match {
    /// The value of `x-match`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
        }
    }
}

/// Where messages go that a queue gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// The exchange; empty for the default one, which takes the routing key for the name of a queue.
    pub exchange: String,
    /// The routing key; without it, the message's own.
    #[serde(default)]
    pub routing_key: Option<String>,
}

/// The value of an argument. The server tells texts, numbers and flags apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Argument {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Anything else.
    Text(String),
}
