//! The native twin: the same client, the same window and the same guarantees as the host's, with the handler's code
//! called directly. What separates it from the host is what the host costs.
//!
//! It runs as a child process of its own (this program again, with [`COMMAND`]), so that its CPU and memory are its
//! own as the host's are. Each twin is written as somebody would who wanted it fast: two batches in hand, the next one
//! read while the last one is published and acknowledged.

mod core_nats;
mod embedded;
mod jetstream;
mod kafka;
mod rabbitmq;
mod redis;
mod redis_lists;

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::logic;
use crate::process::Running;

pub(crate) use self::embedded::{destination, pump, spec};
pub(crate) use self::redis_lists::PROCESSING;

/// The hidden command.
pub(crate) const COMMAND: &str = "__twin";

/// Messages in one batch. Two of them are in hand, as many as the host's default window holds.
pub(crate) const BATCH: usize = 256;

/// What the handler does; each has a guest that does the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Parses the JSON, counts up one field, sends it on.
    Echo,
    /// Sends the message on as it is.
    Identity,
}

impl Work {
    /// Both, as a word and as the name of the guest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "json-echo",
            Self::Identity => "identity",
        }
    }

    /// The payload of the output.
    fn payload(self, payload: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(match self {
            Self::Echo => Some(logic::count_up(payload)?),
            Self::Identity => None,
        })
    }
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> anyhow::Result<Self> {
        let all = [Self::Echo, Self::Identity];
        all.into_iter()
            .find(|work| work.name() == word)
            .context("no such work")
    }
}

/// Where a twin reads and writes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Address and consumer group; the streams are `in` and `out`.
    Redis { url: String, group: String },
    /// Address; the lists are `in` and `out`.
    RedisLists { url: String },
    /// Bootstrap servers and consumer group; the topics are `in` and `out`.
    Kafka { address: String, group: String },
    /// Address; the queues are `in` and `out`.
    RabbitMq { url: String },
    /// Address and durable consumer; the streams and their subjects are `in` and `out`.
    JetStream { url: String, consumer: String },
    /// Address and queue group; the subjects are `in` and `out`.
    CoreNats { url: String, group: String },
    /// The file; the topics are `in` and `out`.
    Embedded { file: String },
}

impl Place {
    pub(crate) fn embedded(file: &Path) -> Self {
        Self::Embedded {
            file: file.to_string_lossy().into_owned(),
        }
    }
}

/// Starts a twin.
pub(crate) fn start(place: &Place, work: Work) -> anyhow::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(COMMAND).arg(work.name());
    match place {
        Place::Redis { url, group } => command.args(["redis", url, group]),
        Place::RedisLists { url } => command.args(["redis-lists", url]),
        Place::Kafka { address, group } => command.args(["kafka", address, group]),
        Place::RabbitMq { url } => command.args(["rabbitmq", url]),
        Place::JetStream { url, consumer } => command.args(["jetstream", url, consumer]),
        Place::CoreNats { url, group } => command.args(["core-nats", url, group]),
        Place::Embedded { file } => command.args(["embedded", file]),
    };
    Running::start("twin", command)
}

/// The child's whole life: until it is killed.
pub(crate) fn main(arguments: Vec<String>) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match words[..] {
        [work, "redis", url, group] => runtime.block_on(redis::run(url, group, work.parse()?)),
        [work, "redis-lists", url] => runtime.block_on(redis_lists::run(url, work.parse()?)),
        [work, "kafka", address, group] => {
            runtime.block_on(kafka::run(address, group, work.parse()?))
        }
        [work, "rabbitmq", url] => runtime.block_on(rabbitmq::run(url, work.parse()?)),
        [work, "jetstream", url, consumer] => {
            runtime.block_on(jetstream::run(url, consumer, work.parse()?))
        }
        [work, "core-nats", url, group] => {
            runtime.block_on(core_nats::run(url, group, work.parse()?))
        }
        [work, "embedded", file] => runtime.block_on(embedded::run(file, work.parse()?)),
        _ => bail!("{COMMAND} is for this program's own use"),
    }
}
