//! A broker set up for one throughput run after another: filled once, and each time as if never read.

mod core_nats;
mod embedded;
mod jetstream;
mod kafka;
mod rabbitmq;
mod redis;
mod redis_lists;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::hosts::Keys;
use crate::process::Running;
use crate::twin::Place;

pub(crate) use self::core_nats::{CoreNatsStage, with_id};
pub(crate) use self::embedded::{EmbeddedStage, complete, publish};
pub(crate) use self::jetstream::{JetStreamStage, header_map};
pub(crate) use self::kafka::{KafkaStage, headers};
pub(crate) use self::rabbitmq::{Kind, RabbitStage, properties};
pub(crate) use self::redis::{RedisStage, xadd};
pub(crate) use self::redis_lists::{RedisListsStage, lpush};

/// What a comparison needs of a broker.
pub(crate) trait Stage {
    /// For people.
    fn name(&self) -> &'static str;
    /// What its places are called in a configuration.
    const KEYS: Keys;

    /// How long after its last output a twin has settled everything.
    const SETTLED: Duration = Duration::from_millis(300);

    /// Whether messages may be lost without anybody's fault.
    const MAY_LOSE: bool = false;

    /// All messages are to be read again by a new group, and `out` is empty.
    async fn prepare(&mut self) -> anyhow::Result<()>;

    /// A contender has been started. Where nothing is kept for it, this is when messages begin to be published.
    async fn begin(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The broker `b` of a host's configuration.
    fn broker(&self) -> Value;

    /// The group of this run, where the place has such.
    fn group(&self) -> Option<String> {
        None
    }

    /// Where a twin goes.
    fn place(&self) -> Place;

    /// A folder on a disk, the same for all runs.
    fn folder(&self) -> PathBuf;

    /// Outputs so far.
    async fn outputs(&mut self) -> anyhow::Result<u64>;

    /// The server's process, where it is not the host's own.
    fn server(&self) -> Option<u32>;

    /// Reads every output back: each of the messages once, and nothing left unsettled. Answers how many were lost, which
    /// is none but where [`Self::MAY_LOSE`] says so.
    async fn check(&mut self) -> anyhow::Result<u64>;
}

/// Ends a contender that has published its last output, once it has settled everything.
pub(crate) async fn end<S: Stage>(contender: Running, is_host: bool) -> anyhow::Result<()> {
    if is_host {
        return contender.stop().await;
    }
    // Its last acknowledgements follow the last output.
    tokio::time::sleep(S::SETTLED).await;
    contender.kill().await
}
