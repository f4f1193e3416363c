//! How a plugin's failures and appetite are handled: the parts that `defaults` and plugins share.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, duration};
use crate::place::PlaceKind;

/// How often and when a message is tried again.
///
/// The n-th retry waits `initial_interval × multiplier^(n-1)`, at most `max_interval`, times a random factor between
/// `1 - randomization_factor` and `1 + randomization_factor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// How many times after the first: 0 to 1,000. 0 sends the first failure to the dead letters.
    #[schemars(range(max = 1_000))]
    pub max_retries: u32,
    /// The wait before the first retry.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub initial_interval: Duration,
    /// What each wait is multiplied by for the next: at least 1.
    #[schemars(range(min = 1.0, max = 100.0))]
    pub multiplier: f64,
    /// The longest wait.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub max_interval: Duration,
    /// How far a wait is spread at random, so that retries do not come in waves: 0 (not at all) to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub randomization_factor: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 3,
            initial_interval: Duration::from_secs(1),
            multiplier: 2.0,
            max_interval: Duration::from_secs(30),
            randomization_factor: 0.2,
        }
    }
}

/// When a plugin is given a rest because what it depends on is down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Failures in a row, within the window, that open it.
    #[schemars(range(min = 1))]
    pub consecutive_failures: u32,
    /// How long it stays open before one message is tried.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub recovery_timeout: Duration,
    /// How far back failures count.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub window: Duration,
    /// Also opens when this share of the calls within the window failed: above 0, at most 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub failure_ratio: Option<f64>,
    /// How many calls the window must hold before the share counts.
    #[schemars(range(min = 1))]
    pub min_calls: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            recovery_timeout: Duration::from_secs(60),
            window: Duration::from_secs(10),
            failure_ratio: None,
            min_calls: 20,
        }
    }
}

/// What one call may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The run time of one call, without the wait for a core.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub deadline: Duration,
    /// The memory of one instance.
    pub memory: ByteSize,
    /// The bytes of everything one call emits, payloads, keys and headers together.
    pub output: ByteSize,
    /// How many messages one call emits.
    pub outputs: u32,
    /// What one call writes to the log; the rest is cut and counted.
    pub log: ByteSize,
    /// How many log lines per second a plugin writes; the rest is dropped and counted.
    pub log_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            memory: ByteSize::mib(128),
            output: ByteSize::mib(1),
            outputs: 1024,
            log: ByteSize::kib(64),
            log_rate: 100,
        }
    }
}

/// Whether an instance may see a second message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// An instance is used again until it is recycled.
    #[default]
    Instance,
    /// Every message gets a fresh instance.
    Message,
}

/// When an instance is replaced although nothing went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recycle {
    /// After about so many messages.
    #[schemars(range(min = 1))]
    pub messages: u32,
    /// After so long without a message.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
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

/// Where dead letters go. `{subscription}` and `{plugin}` in a name stand for the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetter {
    /// The broker; without it, the one the message came from.
    pub broker: Option<String>,
    /// The topic on an embedded broker or Kafka; without it, `dlq.{subscription}.{plugin}`.
    pub topic: Option<String>,
    /// The stream on Redis; without it, `dlq.{subscription}.{plugin}`.
    pub stream: Option<String>,
    /// A list on Redis, in place of the stream.
    pub list: Option<String>,
    /// A sorted set on Redis, in place of the stream.
    pub sorted_set: Option<String>,
    /// The queue on RabbitMQ; without it, `dlq.{subscription}.{plugin}`.
    pub queue: Option<String>,
    /// The subject on NATS, which a stream has to hold; without it, `dlq.{subscription}.{plugin}`.
    pub subject: Option<String>,
}

impl DeadLetter {
    /// What may name the place, in the order in which it is looked for.
    pub(super) fn names(&self) -> [(PlaceKind, &Option<String>); 6] {
        [
            (PlaceKind::Topic, &self.topic),
            (PlaceKind::Stream, &self.stream),
            (PlaceKind::List, &self.list),
            (PlaceKind::SortedSet, &self.sorted_set),
            (PlaceKind::Queue, &self.queue),
            (PlaceKind::Subject, &self.subject),
        ]
    }
}

/// Where the dead letters of one subscription go, resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterTarget {
    /// The broker's configured name.
    pub broker: String,
    /// The name of the place.
    pub name: String,
    /// What it was called in the configuration, if anything. What it is depends on the broker as well:
    /// [`Places::dead_letter`](super::Places::dead_letter).
    pub named: Option<PlaceKind>,
}
