//! The embedded broker, in the owner's process and beside it.

use std::sync::Arc;

use wharf::broker::embedded::Embedded;
use wharf::delivery::Inbox;
use wharf::ports::{Broker, Publisher, Room, Source};

use super::{CHUNK, Observer, Publish};
use crate::stage::publish;
use crate::twin;

pub(in crate::latency) fn to_broker(publisher: Arc<dyn Publisher>) -> Publish {
    Box::new(move |_, payload| {
        let publisher = Arc::clone(&publisher);
        Box::pin(async move { publish(&*publisher, [payload].into_iter()).await })
    })
}

/// A group of its own in the owner's process. What it reads it never settles: that would be work of the benchmark's.
pub(in crate::latency) struct EmbeddedOut {
    source: Box<dyn Source>,
    /// Holds what was dropped.
    _inbox: Arc<Inbox>,
}

impl EmbeddedOut {
    pub(in crate::latency) async fn open(broker: &dyn Broker) -> anyhow::Result<Self> {
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
pub(in crate::latency) struct FileOut {
    client: Arc<Embedded>,
    next: u64,
}

impl FileOut {
    pub(in crate::latency) fn new(client: Arc<Embedded>) -> Self {
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
