//! Where a plugin may publish.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{duration, place};
use crate::place::PlaceKind;

/// One place a plugin may publish to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The broker's name.
    pub broker: String,
    /// The topic, on an embedded broker or Kafka.
    #[serde(default)]
    pub topic: Option<String>,
    /// The stream, on Redis.
    #[serde(default)]
    pub stream: Option<String>,
    /// The list, on Redis: messages are put to its left end.
    #[serde(default)]
    pub list: Option<String>,
    /// The sorted set, on Redis: higher priorities come first.
    #[serde(default)]
    pub sorted_set: Option<String>,
    /// The channel, on Redis. That nobody listens is no error, and what nobody hears is lost.
    #[serde(default)]
    pub channel: Option<String>,
    /// The queue, on RabbitMQ.
    #[serde(default)]
    pub queue: Option<String>,
    /// The exchange, on RabbitMQ.
    #[serde(default)]
    pub exchange: Option<String>,
    /// The routing key, with an exchange on RabbitMQ; without it, an empty one. A topic that a message names for itself
    /// takes its place.
    #[serde(default)]
    pub routing_key: Option<String>,
    /// The subject, on NATS. A stream has to hold it, which confirms each message; but with `core`.
    #[serde(default)]
    pub subject: Option<String>,
    /// Publish past the streams of NATS, to whoever listens at that moment. Nobody confirms that anybody did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub core: bool,
    /// About how many entries a stream of Redis keeps; without it, all.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_len: Option<u64>,
    /// About how long the stream keeps entries, on Redis, such as `7d`; without it, for ever. Instead of `max_len`.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub max_age: Option<Duration>,
    /// Which other topics or streams a message may name for itself: exact names, or a beginning followed by `*`.
    #[serde(default)]
    pub allow_topic_override: Option<Vec<String>>,
    /// The field that holds the payload, in a stream of Redis; without it, `payload`.
    #[serde(default)]
    pub payload: Option<String>,
}

impl Destination {
    /// This place, everything else by default. A pattern cannot be published to: nothing is named then.
    #[must_use]
    pub fn new(broker: impl Into<String>, kind: PlaceKind, name: impl Into<String>) -> Self {
        let name = name.into();
        let if_it_is = |this| (kind == this).then(|| name.clone());
        Self {
            broker: broker.into(),
            topic: if_it_is(PlaceKind::Topic),
            stream: if_it_is(PlaceKind::Stream),
            list: if_it_is(PlaceKind::List),
            sorted_set: if_it_is(PlaceKind::SortedSet),
            channel: if_it_is(PlaceKind::Channel),
            queue: if_it_is(PlaceKind::Queue),
            exchange: if_it_is(PlaceKind::Exchange),
            subject: if_it_is(PlaceKind::Subject),
            core: false,
            routing_key: None,
            max_len: None,
            max_age: None,
            allow_topic_override: None,
            payload: None,
        }
    }

    /// What may name the place, in the order in which it is looked for.
    pub(in crate::config) fn names(&self) -> [(PlaceKind, &Option<String>); 8] {
        [
            (PlaceKind::Topic, &self.topic),
            (PlaceKind::Stream, &self.stream),
            (PlaceKind::List, &self.list),
            (PlaceKind::SortedSet, &self.sorted_set),
            (PlaceKind::Channel, &self.channel),
            (PlaceKind::Queue, &self.queue),
            (PlaceKind::Exchange, &self.exchange),
            (PlaceKind::Subject, &self.subject),
        ]
    }

    /// What is published to, and its name. A sound configuration has one.
    #[must_use]
    pub fn place(&self) -> Option<(PlaceKind, &str)> {
        place::first(&self.names())
    }
}
