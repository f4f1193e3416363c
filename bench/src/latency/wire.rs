//! Publishing one message, and seeing outputs, on each of the brokers.

mod embedded;
mod kafka;
mod nats;
mod rabbitmq;
mod redis;

use futures_util::future::BoxFuture;

pub(super) use self::embedded::{EmbeddedOut, FileOut, to_broker};
use crate::stage::Stage;

/// Publishes one message to `in`: its number and its payload.
pub(super) type Publish = Box<dyn Fn(u64, Vec<u8>) -> BoxFuture<'static, anyhow::Result<()>>>;

/// Outputs asked for at once.
const CHUNK: usize = 1000;

/// Sees outputs in `out`.
pub(super) trait Observer {
    /// Waits for at least one, or some time; their payloads.
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>>;
}

/// A broker with a server of its own.
pub(super) trait Wired: Stage {
    /// Sees outputs.
    type Out: Observer;

    /// Nothing that was published in an earlier run is in `in`. Follows [`Stage::prepare`].
    async fn empty(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The publisher of a run.
    fn publish(&self) -> anyhow::Result<Publish>;

    /// The observer of a run that has begun and published nothing yet.
    async fn observe(&self) -> anyhow::Result<Self::Out>;
}
