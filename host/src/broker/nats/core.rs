//! Subjects outside of streams: what is published reaches whoever listens at that moment, once or not at all.
//!
//! The client drops what nobody takes, and says so once for each message in a queue of bounded length; so the count would
//! be too low just when it matters. Here every message is taken from it at once, into [`heard`](crate::broker::heard).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_nats::{Client, Request};
use bytestring::ByteString;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::link::Link;
use super::wire::{self, Beside, Reading, Received};
use crate::broker::heard::Heard;
use crate::broker::waiting::Part;
use crate::delivery::{Delivery, Inbox};
use crate::ports::{
    BrokerError, Clock, Room, Settle, SettleError, Settler, Source, SubscriptionSpec,
};

/// How long the server may take to answer that it knows of a subscription, where it may answer.
const HEARD: Duration = Duration::from_secs(1);

/// One subscription to a subject.
pub(super) struct CoreSubscription {
    pub(super) reading: Reading,
    link: Arc<Link>,
    clock: Clock,
    pub(super) heard: Heard,
    stopping: CancellationToken,
}

impl CoreSubscription {
    pub(super) fn new(
        broker: &Arc<str>,
        spec: &SubscriptionSpec,
        link: Arc<Link>,
        clock: Clock,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Self {
            reading: Reading {
                broker: Arc::clone(broker),
                subscription: Arc::clone(&spec.name),
                source: Arc::clone(&spec.address),
                group: Arc::clone(&spec.group),
                own: false,
            },
            link,
            clock,
            heard: Heard::new("nats", Arc::clone(&spec.address), lost),
            stopping: CancellationToken::new(),
        }
    }

    /// Reads until it is stopped.
    pub(super) async fn run(self: Arc<Self>, part: Part, closing: CancellationToken) {
        loop {
            let connected = tokio::select! {
                connected = self.link.connected() => connected,
                () = self.stopping.cancelled() => return,
                () = closing.cancelled() => return,
            };
            let (client, _) = connected;
            tokio::select! {
                reason = self.read(&client, &part) => part.trouble(&reason),
                () = self.stopping.cancelled() => return,
                () = closing.cancelled() => return,
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The client subscribes again by itself when it connects again; this ends with the client.
    async fn read(&self, client: &Client, part: &Part) -> String {
        let subject = self.reading.source.to_string();
        let group = self.reading.group.to_string();
        let messages = client.queue_subscribe(subject, group).await;
        let mut messages = match messages {
            Ok(messages) => messages,
            Err(error) => return format!("nats: {}: {error}", self.reading.source),
        };
        arrived(client).await;
        part.well();
        while let Some(message) = messages.next().await {
            self.took(message);
        }
        format!("nats: the subscription to {} ended", self.reading.source)
    }

    fn took(&self, message: async_nats::Message) {
        let received = Received::new(message);
        let size = received.size();
        let beside = Beside {
            now_ms: self.clock.now_ms(),
            // Nobody counts.
            deliveries: 0,
        };
        let mint = || ByteString::from(uuid::Uuid::now_v7().to_string());
        self.heard
            .add(size, || wire::read(&received, &self.reading, beside, mint));
    }
}

/// Waits until the server has what was written so far: it says of a subject of nobody's at once that nobody is there. What is
/// published from then on is not missed.
async fn arrived(client: &Client) {
    let nobody = Request::new().timeout(Some(HEARD));
    drop(client.send_request(client.new_inbox(), nobody).await);
}

pub(super) struct CoreSource {
    pub(super) sub: Arc<CoreSubscription>,
    pub(super) inbox: Arc<Inbox>,
    /// Ends the reading when source and settler are both gone.
    pub(super) _worker: Arc<DropGuard>,
}

impl Source for CoreSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move { Ok(self.sub.heard.take(room, &self.inbox).await) })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.sub.stopping.cancel();
            self.sub.heard.stop();
        })
    }
}

pub(super) struct CoreSettler {
    pub(super) sub: Arc<CoreSubscription>,
    pub(super) _worker: Arc<DropGuard>,
}

impl Settler for CoreSettler {
    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        self.sub.heard.settled(batch.iter());
        Box::pin(std::future::ready(vec![Ok(()); batch.len()]))
    }
}
