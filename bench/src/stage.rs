//! A broker set up for one throughput run after another: filled once, and each time as if never read.

mod embedded;
mod jetstream;
mod kafka;
mod rabbitmq;
mod redis;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::hosts::Keys;
use crate::twin::Place;

pub(crate) use self::embedded::{EmbeddedStage, complete, publish};
pub(crate) use self::jetstream::JetStreamStage;
pub(crate) use self::kafka::KafkaStage;
pub(crate) use self::rabbitmq::{Kind, RabbitStage};
pub(crate) use self::redis::{RedisStage, xadd};

/// What a comparison needs of a broker.
pub(crate) trait Stage {
    /// For people.
    fn name(&self) -> &'static str;
    /// What its places are called in a configuration.
    const KEYS: Keys;

    /// How long after its last output a twin has settled everything.
    const SETTLED: Duration = Duration::from_millis(300);

    /// All messages are to be read again by a new group, and `out` is empty.
    async fn prepare(&mut self) -> anyhow::Result<()>;

    /// The broker `b` of a host's configuration.
    fn broker(&self) -> Value;

    /// The group of this run.
    fn group(&self) -> String;

    /// Where a twin goes.
    fn place(&self) -> Place;

    /// A folder on a disk, the same for all runs.
    fn folder(&self) -> PathBuf;

    /// Outputs so far.
    async fn outputs(&mut self) -> anyhow::Result<u64>;

    /// The server's process, where it is not the host's own.
    fn server(&self) -> Option<u32>;

    /// Reads every output back: each of the messages once, and nothing left unsettled.
    async fn check(&mut self) -> anyhow::Result<()>;
}
