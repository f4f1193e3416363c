//! Streams the host makes.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, duration};

/// Streams to make where they are missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Declare {
    /// By name.
    pub streams: BTreeMap<String, Stream>,
    /// A stream of this name for all dead letters, on the subjects `dlq.>`. Without it, some stream has to hold the subjects
    /// of dead letters: where none does, a message that has failed for good is held and its subscription pauses.
    #[schemars(length(min = 1))]
    pub dead_letters: Option<String>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// What it holds: subjects, with `*` for one word and `>` for the rest.
    #[schemars(length(min = 1))]
    pub subjects: Vec<String>,
    /// How long messages stay.
    #[serde(default)]
    pub retention: Retention,
    /// Where they lie.
    #[serde(default)]
    pub storage: Storage,
    /// On how many servers: 1, 3 or 5.
    #[serde(default = "Stream::replicas")]
    #[schemars(range(min = 1, max = 5))]
    pub replicas: u8,
    /// Messages older than this are deleted; without it, none.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub max_age: Option<Duration>,
    /// Most messages; without it, no bound.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_messages: Option<u32>,
    /// Most bytes; without it, no bound.
    #[serde(default)]
    pub max_bytes: Option<ByteSize>,
    /// The largest message that is taken; without it, the server's bound.
    #[serde(default)]
    pub max_message: Option<ByteSize>,
    /// What goes when it is full.
    #[serde(default)]
    pub discard: Discard,
    /// For how long the server recognises a message that is published again by its id.
    #[serde(default = "Stream::duplicate_window", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub duplicate_window: Duration,
}

impl Stream {
    fn replicas() -> u8 {
        1
    }

    fn duplicate_window() -> Duration {
        Duration::from_secs(120)
    }

    /// A stream of these subjects, everything else by default.
    #[must_use]
    pub fn new(subjects: &[&str]) -> Self {
        Self {
            subjects: subjects.iter().map(|&s| s.to_owned()).collect(),
            retention: Retention::default(),
            storage: Storage::default(),
            replicas: Self::replicas(),
            max_age: None,
            max_messages: None,
            max_bytes: None,
            max_message: None,
            discard: Discard::default(),
            duplicate_window: Self::duplicate_window(),
        }
    }
}

/// How long messages stay in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// As long as its limits allow.
    #[default]
    Limits,
    /// Until every consumer has acknowledged them.
    Interest,
    /// Until the one consumer of their subject has.
    WorkQueue,
}

/// Where a stream lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory: it does not outlive its servers.
    Memory,
}

/// What goes when a stream is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// The oldest messages, whether they were handled or not.
    #[default]
    Old,
    /// The new one: it is refused, and whoever publishes it waits.
    New,
}
