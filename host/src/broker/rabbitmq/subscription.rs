//! One subscription as its parts see it: the worker that reads ([`worker`](super::worker)), the source that hands over,
//! the settler. What they share is under one lock, never held across an await.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::ShortString;
use lapin::{Channel, Connection};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::confirm::{self, Outcome, Publish};
use super::connect::words;
use super::ledger::{Epoch, Held, Ledger};
use super::link::{Declaration, Own};
use super::step::Tier;
use super::wire::parked::Parked;
use super::wire::{Reading, short};
use crate::delivery::Token;
use crate::ports::{BrokerError, SubscriptionSpec};

/// How long the server may take to confirm what is parked.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much is parked in one batch.
pub(super) const AT_ONCE: usize = 256;

/// A connection that works.
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) epoch: Epoch,
    /// Consumers and acknowledgements.
    pub(super) channel: Channel,
    /// Publishes what waits. Another than the one that consumes: an error of it would give everything in hand back.
    parks: tokio::sync::Mutex<Channel>,
    /// To be given up: something on it broke.
    pub(super) broken: CancellationToken,
}

struct State {
    ledger: Ledger,
    own: Own,
    live: Option<Arc<Live>>,
}

/// See the module.
pub(super) struct Subscription {
    pub(super) queue: ShortString,
    pub(super) retry: ShortString,
    pub(super) ordered: bool,
    pub(super) prefetch: u16,
    source: Reading,
    own: Reading,
    state: Mutex<State>,
    /// Reading has stopped: from now on a settlement waits until the server has dealt with it.
    pub(super) stopping: CancellationToken,
}

/// A message that is to wait.
pub(super) struct Parking {
    pub(super) held: Held,
    pub(super) tier: Option<Tier>,
    pub(super) beside: Parked,
}

impl Subscription {
    pub(super) fn new(
        broker: &Arc<str>,
        spec: &SubscriptionSpec,
        quorum: bool,
    ) -> Result<Self, BrokerError> {
        let too_long = || {
            let name = &spec.name;
            BrokerError::Refused(format!(
                "rabbitmq: names of subscription {name} are too long"
            ))
        };
        let own = Own::new(&spec.name, &spec.plugin, quorum).ok_or_else(too_long)?;
        let reading = |queue: &Arc<str>, of_own| Reading {
            broker: Arc::clone(broker),
            subscription: Arc::clone(&spec.name),
            queue: Arc::clone(queue),
            own: of_own,
            prefix: Arc::clone(&own.retry),
        };
        Ok(Self {
            queue: short(&spec.address).ok_or_else(too_long)?,
            retry: short(&own.retry).ok_or_else(too_long)?,
            ordered: spec.ordered,
            prefetch: super::step::prefetch(spec.prefetch, usize::MAX, None),
            source: reading(&spec.address, false),
            own: reading(&own.retry, true),
            state: Mutex::new(State {
                ledger: Ledger::default(),
                own,
                live: None,
            }),
            stopping: CancellationToken::new(),
        })
    }

    pub(super) fn reading(&self, own: bool) -> &Reading {
        if own { &self.own } else { &self.source }
    }

    /// The queue that is read beside the source, to be declared.
    pub(super) fn retry_declaration(&self) -> Declaration {
        self.state.lock().own.source()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.state.lock().ledger.epoch()
    }

    /// A connection is ready.
    pub(super) async fn up(
        &self,
        connection: Connection,
        channel: Channel,
    ) -> lapin::Result<Arc<Live>> {
        let parks = confirm::channel(&connection).await?;
        let mut state = self.state.lock();
        let live = Arc::new(Live {
            connection,
            epoch: state.ledger.epoch(),
            channel,
            parks: tokio::sync::Mutex::new(parks),
            broken: CancellationToken::new(),
        });
        state.own.begin();
        state.live = Some(Arc::clone(&live));
        Ok(live)
    }

    /// It is lost: what is in hand comes again. Answers how much that is.
    pub(super) fn down(&self) -> usize {
        let mut state = self.state.lock();
        state.live = None;
        state.ledger.begin().1
    }

    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.state.lock().live.clone()
    }

    pub(super) fn took(&self, held: Held) -> Option<Token> {
        self.state.lock().ledger.took(held)
    }

    pub(super) fn held(&self, token: Token) -> Option<Held> {
        self.state.lock().ledger.held(token).cloned()
    }

    pub(super) fn in_hand(&self) -> usize {
        self.state.lock().ledger.len()
    }

    /// The holding queues that were used on this connection.
    pub(super) fn holding(&self) -> Vec<ShortString> {
        let state = self.state.lock();
        let own = &state.own;
        own.tiers().map(|tier| own.holding(tier).name).collect()
    }

    /// Acknowledges. Frames are written together: waiting for one before the next is written costs most of the speed.
    /// An error means that the connection is going or gone, and that they come again.
    pub(super) async fn acknowledge(&self, live: &Live, tokens: &[Token]) -> Result<(), String> {
        let acks = {
            let mut state = self.state.lock();
            current(&state.ledger, live)?;
            state.ledger.acknowledge(live.epoch, tokens)
        };
        let sent = acks.iter().map(|ack| {
            let multiple = ack.multiple;
            live.channel
                .basic_ack(ack.tag, BasicAckOptions { multiple })
        });
        written(join_all(sent).await)
    }

    /// Gives back to the queue, at its place.
    pub(super) async fn give_back(&self, live: &Live, tokens: &[Token]) -> Result<(), String> {
        let tags = {
            let mut state = self.state.lock();
            current(&state.ledger, live)?;
            state.ledger.give_back(live.epoch, tokens)
        };
        let options = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        let sent = tags
            .iter()
            .map(|tag| live.channel.basic_nack(*tag, options));
        written(join_all(sent).await)
    }

    /// Puts messages into the subscription's own queues. Answers in order; what is wrong where one was not taken.
    pub(super) async fn park(&self, live: &Live, batch: &[Parking]) -> Vec<Result<(), String>> {
        let mut results = Vec::with_capacity(batch.len());
        for chunk in batch.chunks(AT_ONCE) {
            let parked = tokio::time::timeout(PATIENCE, self.park_some(live, chunk)).await;
            results.extend(parked.unwrap_or_else(|_| {
                // What is still on its way could be taken for an answer to the next batch.
                live.broken.cancel();
                vec![Err("rabbitmq: no confirmation".to_owned()); chunk.len()]
            }));
        }
        results
    }

    async fn park_some(&self, live: &Live, batch: &[Parking]) -> Vec<Result<(), String>> {
        let mut parks = live.parks.lock().await;
        let mut into = Vec::with_capacity(batch.len());
        for one in batch {
            match self.queue_of(&parks, one.tier).await {
                Ok(queue) => into.push(queue),
                Err(error) => {
                    // An error closes the channel; the next batch needs another.
                    match confirm::channel(&live.connection).await {
                        Ok(channel) => *parks = channel,
                        Err(_) => live.broken.cancel(),
                    }
                    let reason = format!("rabbitmq: a queue of its own: {}", words(&error));
                    return vec![Err(reason); batch.len()];
                }
            }
        }
        let publishes: Vec<Publish<'_>> = batch
            .iter()
            .zip(into)
            .map(|(one, queue)| Publish {
                exchange: ShortString::default(),
                routing_key: queue,
                properties: one
                    .beside
                    .clone()
                    .properties(&one.held.received, self.reading(one.held.own)),
                payload: &one.held.received.payload,
            })
            .collect();
        let outcomes = confirm::publish(&parks, &publishes).await;
        let mut results = Vec::with_capacity(batch.len());
        for (outcome, one) in outcomes.into_iter().zip(batch) {
            results.push(match outcome {
                Outcome::Taken => Ok(()),
                Outcome::Returned(said) => {
                    match one.tier {
                        Some(tier) => self.state.lock().own.gone(tier),
                        // The queue that is read beside the source was deleted: all is declared anew.
                        None => live.broken.cancel(),
                    }
                    Err(format!("rabbitmq: a queue of its own is gone: {said}"))
                }
                Outcome::Refused => Err("rabbitmq: a queue of its own refused it".to_owned()),
                Outcome::Lost(error) => {
                    live.broken.cancel();
                    Err(format!("rabbitmq: {}", words(&error)))
                }
            });
        }
        results
    }

    /// The queue a message is put into, declared.
    async fn queue_of(&self, channel: &Channel, tier: Option<Tier>) -> lapin::Result<ShortString> {
        let Some(tier) = tier else {
            return Ok(self.retry.clone());
        };
        let (name, missing) = {
            let state = self.state.lock();
            (state.own.holding(tier).name, state.own.missing(tier))
        };
        if let Some(missing) = missing {
            declare(channel, missing).await?;
            self.state.lock().own.declared(tier);
        }
        Ok(name)
    }
}

/// Whether a connection is still the one in use.
fn current(ledger: &Ledger, live: &Live) -> Result<(), String> {
    if ledger.epoch() == live.epoch {
        Ok(())
    } else {
        Err("its connection is gone".to_owned())
    }
}

fn written(frames: Vec<lapin::Result<()>>) -> Result<(), String> {
    let all: lapin::Result<()> = frames.into_iter().collect();
    all.map_err(|error| words(&error))
}

/// Declares a durable queue.
pub(super) async fn declare(channel: &Channel, queue: Declaration) -> lapin::Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.name, options, queue.arguments)
        .await
        .map(drop)
}

/// What stands beside a message that waits.
pub(super) fn beside(
    held: &Held,
    attempts: u32,
    first_failed_ms: Option<u64>,
    deliveries: u32,
) -> Parked {
    Parked {
        attempts,
        first_failed_ms,
        deliveries,
        id: held.minted.clone(),
        ..Parked::default()
    }
}
