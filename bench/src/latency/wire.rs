//! Publishing one message, and seeing outputs, on each of the brokers.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use wharf::broker::embedded::Embedded;
use wharf::delivery::Inbox;
use wharf::ports::{Broker, Publisher, Room, Source};

use crate::stage::{publish, xadd};
use crate::twin;

/// Publishes one payload to `in`.
pub(super) type Publish = Box<dyn Fn(Vec<u8>) -> BoxFuture<'static, anyhow::Result<()>>>;

/// Outputs asked for at once.
const CHUNK: usize = 1000;

/// Sees outputs in `out`.
pub(super) trait Observer {
    /// Waits for at least one; their payloads.
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>>;
}

pub(super) fn to_redis(connection: MultiplexedConnection) -> Publish {
    Box::new(move |payload| {
        let mut connection = connection.clone();
        Box::pin(async move {
            let _id: String = xadd("in", payload).query_async(&mut connection).await?;
            Ok(())
        })
    })
}

pub(super) fn to_broker(publisher: Arc<dyn Publisher>) -> Publish {
    Box::new(move |payload| {
        let publisher = Arc::clone(&publisher);
        Box::pin(async move { publish(&*publisher, [payload].into_iter()).await })
    })
}

/// Blocking reads of the stream, without a group.
pub(super) struct RedisOut {
    connection: MultiplexedConnection,
    last: String,
}

impl RedisOut {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self {
            connection,
            last: "0".into(),
        }
    }
}

/// Ids, and names with values.
type Entries = Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>;

impl Observer for RedisOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT")
            .arg(CHUNK)
            .arg("BLOCK")
            .arg(1000)
            .arg("STREAMS")
            .arg("out")
            .arg(&self.last);
        let answer: Option<Vec<(String, Entries)>> = read.query_async(&mut self.connection).await?;
        let mut payloads = Vec::new();
        for (id, fields) in answer
            .into_iter()
            .flatten()
            .flat_map(|(_, entries)| entries)
        {
            self.last = id;
            payloads.extend(
                fields
                    .into_iter()
                    .filter(|(name, _)| name == b"payload")
                    .map(|(_, value)| value),
            );
        }
        Ok(payloads)
    }
}

/// A group of its own in the owner's process. What it reads it never settles: that would be work of the benchmark's.
pub(super) struct EmbeddedOut {
    source: Box<dyn Source>,
    /// Holds what was dropped.
    _inbox: Arc<Inbox>,
}

impl EmbeddedOut {
    pub(super) async fn open(broker: &dyn Broker) -> anyhow::Result<Self> {
        let inbox = Inbox::new();
        let subscribed = broker
            .subscribe(twin::spec("out"), Arc::clone(&inbox))
            .await?;
        Ok(Self {
            source: subscribed.source,
            _inbox: inbox,
        })
    }
}

impl Observer for EmbeddedOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let room = Room {
            messages: CHUNK,
            bytes: 64 << 20,
        };
        let deliveries = self.source.fetch(room).await?;
        Ok(deliveries
            .iter()
            .map(|delivery| delivery.message().payload.to_vec())
            .collect())
    }
}

/// A reader in another process than the owner.
pub(super) struct FileOut {
    client: Arc<Embedded>,
    next: u64,
}

impl FileOut {
    pub(super) fn new(client: Arc<Embedded>) -> Self {
        Self { client, next: 0 }
    }
}

impl Observer for FileOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let found = self.client.follow("out", self.next, CHUNK).await?;
        self.next = found.last().map_or(self.next, |last| last.seq + 1);
        Ok(found
            .iter()
            .map(|message| message.payload.to_vec())
            .collect())
    }
}
