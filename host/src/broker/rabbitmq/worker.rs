//! The task that reads a subscription: it connects, consumes, and begins again when anything breaks.
//!
//! It consumes from the source and from the subscription's own queue, by one channel. What arrives goes to the source by
//! a queue with room for the prefetch of both; only what a lost connection left in it makes the worker wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::{Stream, StreamExt as _, stream};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::connect::{Endpoint, Trouble};
use super::health::Part;
use super::ledger::Held;
use super::link::{Pace, Tries};
use super::step::{Arrival, arrival};
use super::subscription::{AT_ONCE, Live, Parking, Subscription, beside, declare};
use super::wire::parked::Parked;
use super::wire::{self, Received};
use crate::delivery::Token;
use crate::message::Message;

/// How long the server may take to let us consume.
const OPENING: Duration = Duration::from_secs(10);
/// How long the server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// A message that was read and not handed over.
pub(super) struct Fetched {
    pub(super) token: Token,
    pub(super) message: Message,
}

/// See the module.
pub(super) struct Worker {
    pub(super) sub: Arc<Subscription>,
    pub(super) endpoint: Endpoint,
    pub(super) part: Part,
    pub(super) tries: Tries,
    pub(super) read: Sender<Fetched>,
    /// Cancelled once nothing more will be read.
    pub(super) stopped: CancellationToken,
    /// Nobody settles any more.
    pub(super) closing: CancellationToken,
}

/// How a connection came to its end.
enum End {
    /// It broke.
    Broke(Trouble),
    /// It is not needed any more.
    Closed,
}

/// What comes by the consumers.
enum Item {
    Delivered {
        own: bool,
        delivery: Box<Delivery>,
    },
    Failed(lapin::Error),
    /// The server ended a consumer.
    Ended,
}

impl Worker {
    pub(super) async fn run(mut self) {
        let (stopping, closing) = (self.sub.stopping.clone(), self.closing.clone());
        loop {
            let trouble = match self.once().await {
                Ok(()) => break,
                Err(trouble) => trouble,
            };
            self.part.trouble(&trouble.reason);
            let wait = self.tries.failed(trouble.pace, fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // What was in hand comes again to somebody else.
                () = stopping.cancelled() => break,
                () = closing.cancelled() => break,
            }
        }
        self.stopped.cancel();
    }

    /// One connection, from its making to its end.
    async fn once(&mut self) -> Result<(), Trouble> {
        let what = format!("reads {}", self.sub.queue);
        let connection = self.endpoint.connect(&what).await?;
        let opened = tokio::time::timeout(OPENING, self.open(connection)).await;
        let Ok(opened) = opened else {
            // A quorum queue that has no leader yet, after a restart say, keeps whoever asks for it waiting.
            let at = &self.endpoint.at;
            let reason = format!("rabbitmq at {at}: no answer about {}", self.sub.queue);
            let pace = Pace::Soon;
            return Err(Trouble { reason, pace });
        };
        let (live, consumers) = opened.map_err(|error| self.endpoint.trouble(&error))?;
        self.part.well();
        let end = self.read(&live, consumers).await;
        let lost = self.sub.down();
        if lost > 0 {
            tracing::info!(queue = %self.sub.queue, lost, "rabbitmq: comes again");
        }
        let bye = live.connection.close(200, "done".into());
        drop(tokio::time::timeout(GOODBYE, bye).await);
        match end {
            End::Broke(trouble) => Err(trouble),
            End::Closed => Ok(()),
        }
    }

    async fn open(&self, connection: Connection) -> lapin::Result<(Arc<Live>, [Consumer; 2])> {
        let channel = connection.create_channel().await?;
        declare(&channel, self.sub.retry_declaration()).await?;
        qos(&channel, self.sub.prefetch).await?;
        let consume = |queue| {
            let options = BasicConsumeOptions::default();
            channel.basic_consume(queue, "".into(), options, FieldTable::default())
        };
        let source = consume(self.sub.queue.clone()).await?;
        let own = consume(self.sub.retry.clone()).await?;
        let live = self.sub.up(connection, channel).await?;
        Ok((live, [source, own]))
    }

    async fn read(&mut self, live: &Live, [source, own]: [Consumer; 2]) -> End {
        let tags = [source.tag(), own.tag()];
        let both = stream::select(items(source, false), items(own, true));
        let mut both = both.ready_chunks(AT_ONCE);
        let stopping = self.sub.stopping.clone();
        let mut ended = 0;
        let mut cancelled = false;
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return End::Closed,
                () = live.broken.cancelled() => return self.broke("something on it broke"),
                () = stopping.cancelled(), if !cancelled => {
                    cancelled = true;
                    for tag in &tags {
                        let options = BasicCancelOptions::default();
                        if let Err(error) = live.channel.basic_cancel(tag.clone(), options).await {
                            return End::Broke(self.endpoint.trouble(&error));
                        }
                    }
                }
                items = both.next() => {
                    let mut moves = Vec::new();
                    for item in items.unwrap_or_default() {
                        match item {
                            Item::Delivered { own, delivery } => {
                                self.tries.worked();
                                moves.extend(self.arrived(live, own, *delivery).await);
                            }
                            Item::Failed(error) => return End::Broke(self.endpoint.trouble(&error)),
                            Item::Ended if cancelled => ended += 1,
                            Item::Ended => return self.broke("the server ended a consumer: its queue may be gone"),
                        }
                    }
                    self.moved(live, moves).await;
                    if ended == tags.len() {
                        return self.finish(live).await;
                    }
                }
            }
        }
    }

    /// Nothing more is read; the connection stays for what is being settled.
    async fn finish(&self, live: &Live) -> End {
        self.stopped.cancel();
        tokio::select! {
            () = self.closing.cancelled() => End::Closed,
            () = live.broken.cancelled() => self.broke("something on it broke"),
        }
    }

    fn broke(&self, why: &str) -> End {
        End::Broke(Trouble {
            reason: format!("rabbitmq at {}: {why}", self.endpoint.at),
            pace: Pace::Soon,
        })
    }

    /// Hands a message on, or answers that it has to be moved first.
    async fn arrived(
        &self,
        live: &Live,
        own: bool,
        delivery: Delivery,
    ) -> Option<(Token, Parking)> {
        let received = Received {
            tag: delivery.delivery_tag,
            exchange: delivery.exchange,
            routing_key: delivery.routing_key,
            redelivered: delivery.redelivered,
            properties: delivery.properties,
            payload: Bytes::from(delivery.data),
        };
        let reading = self.sub.reading(own);
        let before = Parked::of(&received, reading);
        let count = received.delivery_count();
        let fate = arrival(
            before.deliveries,
            count,
            received.redelivered,
            self.sub.ordered,
        );
        let (Arrival::Hand(deliveries) | Arrival::Move(deliveries)) = fate;
        let mut minted: Option<ByteString> = None;
        let message = wire::read(&received, reading, deliveries, || {
            let id = ByteString::from(uuid::Uuid::now_v7().to_string());
            minted = Some(id.clone());
            id
        });
        let held = Held {
            epoch: live.epoch,
            received: Arc::new(received),
            own,
            deliveries: deliveries.saturating_sub(1),
            minted,
        };
        let token = self.sub.took(held.clone())?;
        if let Arrival::Move(deliveries) = fate {
            let beside = beside(&held, before.attempts, before.first_failed_ms, deliveries);
            let tier = None;
            return Some((token, Parking { held, tier, beside }));
        }
        // Where nobody takes it, nobody reads any more.
        let handed = self.read.send(Fetched { token, message });
        drop(self.closing.run_until_cancelled(handed).await);
        None
    }

    async fn moved(&self, live: &Live, moves: Vec<(Token, Parking)>) {
        if moves.is_empty() {
            return;
        }
        let (tokens, parkings): (Vec<_>, Vec<_>) = moves.into_iter().unzip();
        let results = self.sub.park(live, &parkings).await;
        let taken: Vec<Token> = results
            .iter()
            .zip(&tokens)
            .filter_map(|(result, token)| result.is_ok().then_some(*token))
            .collect();
        let sent = self.sub.acknowledge(live, &taken).await;
        if taken.len() < tokens.len() || sent.is_err() {
            // The others come again by the next connection.
            live.broken.cancel();
        }
    }
}

pub(super) async fn qos(channel: &Channel, prefetch: u16) -> lapin::Result<()> {
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await
}

fn items(consumer: Consumer, own: bool) -> impl Stream<Item = Item> + Unpin {
    let items = consumer.map(move |item| match item {
        Ok(delivery) => Item::Delivered {
            own,
            delivery: Box::new(delivery),
        },
        Err(error) => Item::Failed(error),
    });
    items.chain(stream::iter([Item::Ended]))
}
