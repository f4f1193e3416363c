//! Where a plugin reads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::place;
use crate::place::PlaceKind;

/// One place a plugin consumes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The broker's name.
    pub broker: String,
    /// The topic, on an embedded broker or Kafka; on Kafka also a pattern of topics, which begins with `^`.
    #[serde(default)]
    pub topic: Option<String>,
    /// The stream, on Redis or NATS (JetStream).
    #[serde(default)]
    pub stream: Option<String>,
    /// The list, on Redis: read from its right end. Whoever else reads it takes from this plugin.
    #[serde(default)]
    pub list: Option<String>,
    /// The sorted set, on Redis: read from the highest score down. Whoever else reads it takes from this plugin.
    #[serde(default)]
    pub sorted_set: Option<String>,
    /// The channel, on Redis. What is published while no host listens is lost.
    #[serde(default)]
    pub channel: Option<String>,
    /// A pattern of channels, on Redis, such as `orders.*`. What is published while no host listens is lost.
    #[serde(default)]
    pub pattern: Option<String>,
    /// The queue, on RabbitMQ.
    #[serde(default)]
    pub queue: Option<String>,
    /// The subject outside of streams, on NATS; it may have wildcards. What is published while no host listens is lost.
    #[serde(default)]
    pub subject: Option<String>,
    /// Which subjects of a stream of NATS are read; wildcards may stand in them. All of them without it. More than one needs a
    /// server of 2.10 or newer.
    #[serde(default)]
    pub filter: Option<Vec<String>>,
    /// The consumer group, where the place has such (on NATS the durable consumer of a stream, the queue group of a
    /// subject); without it, the plugin's name.
    #[serde(default)]
    pub group: Option<String>,
    /// Which field of a Redis entry is the payload: a name (`payload` by default), or `entry` for the whole entry as JSON.
    #[serde(default)]
    pub payload: Option<PayloadField>,
    /// Where a group that does not exist yet begins.
    #[serde(default)]
    pub start: Start,
}

impl Subscription {
    /// A subscription to this place, everything else by default. An exchange cannot be read: nothing is named then.
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
            pattern: if_it_is(PlaceKind::Pattern),
            queue: if_it_is(PlaceKind::Queue),
            subject: if_it_is(PlaceKind::Subject),
            filter: None,
            group: None,
            payload: None,
            start: Start::default(),
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
            (PlaceKind::Pattern, &self.pattern),
            (PlaceKind::Queue, &self.queue),
            (PlaceKind::Subject, &self.subject),
        ]
    }

    /// What is read, and its name. A sound configuration has one.
    #[must_use]
    pub fn place(&self) -> Option<(PlaceKind, &str)> {
        place::first(&self.names())
    }

    /// The name of what is read.
    #[must_use]
    pub fn source(&self) -> &str {
        self.place().map_or("", |(_, name)| name)
    }

    /// The consumer group of a plugin called `plugin`.
    #[must_use]
    pub fn group<'a>(&'a self, plugin: &'a str) -> &'a str {
        self.group.as_deref().unwrap_or(plugin)
    }
}

/// Which part of a Redis entry is a message's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadField {
    /// The field of this name. A field that is itself called `entry` is written `{ field: entry }`.
    Field(String),
    /// The whole entry, as a JSON object.
    Entry,
}

impl Default for PayloadField {
    fn default() -> Self {
        Self::Field("payload".to_owned())
    }
}

impl Serialize for PayloadField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Entry => serializer.serialize_str("entry"),
            Self::Field(name) if name == "entry" => {
                BTreeMap::from([("field", name)]).serialize(serializer)
            }
            Self::Field(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for PayloadField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Name(String),
            Field { field: String },
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Name(name) if name == "entry" => Self::Entry,
            Written::Name(name) | Written::Field { field: name } => Self::Field(name),
        })
    }
}

impl JsonSchema for PayloadField {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PayloadField".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A field's name, `entry` for the whole entry as JSON, or `{ field: entry }` for a field of that name.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["field"],
                    "properties": { "field": { "type": "string", "minLength": 1 } }
                }
            ]
        })
    }
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the oldest message there is.
    #[default]
    Earliest,
    /// With the first message after the group was made.
    Latest,
}
