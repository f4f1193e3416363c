//! Publishes outputs and dead letters.
//!
//! One connection of its own, beside those of the subscriptions: the server blocks a connection that publishes when it
//! runs short of memory or disk, and would not take its acknowledgements either. On it a few channels, each of which
//! publishes one batch at a time ([`confirm`](super::confirm)). An exchange that does not exist closes the channel it is
//! published to by and takes what else is on the way with it; so exchanges are asked for first, by a channel that is
//! opened for the question.
//!
//! An address is `exchange/routing key`, or the name of a queue, which is what the default exchange takes for a routing key.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Event, ExchangeKind};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::confirm::{self, Outcome, Publish};
use super::connect::{Endpoint, Trouble, reply_code, words};
use super::health::Part;
use super::link::{Pace, Tries};
use super::wire::{self, short};
use crate::commit::Publication;
use crate::ports::{Clock, PublishError, Publisher};

/// How many batches are on the way at once.
const CHANNELS: usize = 8;
/// How long the server may take to confirm a batch.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that works.
struct Live {
    connection: Connection,
    channels: [tokio::sync::Mutex<Option<Channel>>; CHANNELS],
    /// Exchanges that were there.
    known: Mutex<HashSet<ShortString>>,
    /// To be given up: something on it broke.
    broken: CancellationToken,
}

/// See the module.
pub(super) struct RabbitPublisher {
    endpoint: Endpoint,
    live: Mutex<Option<Arc<Live>>>,
    part: Part,
    clock: Clock,
}

impl RabbitPublisher {
    pub(super) fn new(endpoint: Endpoint, part: Part) -> Self {
        Self {
            endpoint,
            live: Mutex::new(None),
            part,
            clock: Clock::system(),
        }
    }

    /// Keeps a connection until `closing`, also where nothing is published, so that health is known.
    pub(super) async fn keep(self: Arc<Self>, mut tries: Tries, closing: CancellationToken) {
        loop {
            let trouble = match self.endpoint.connect("publishes").await {
                Ok(connection) => match self.use_up(connection, &mut tries, &closing).await {
                    Some(trouble) => trouble,
                    None => return,
                },
                Err(trouble) => trouble,
            };
            self.part.trouble(&trouble.reason);
            let wait = tries.failed(trouble.pace, fastrand::f64());
            let waited = closing.run_until_cancelled(tokio::time::sleep(wait));
            if waited.await.is_none() {
                return;
            }
        }
    }

    /// Until it breaks, or nothing more is to come (`None`).
    async fn use_up(
        &self,
        connection: Connection,
        tries: &mut Tries,
        closing: &CancellationToken,
    ) -> Option<Trouble> {
        let events = connection.events_listener();
        tokio::pin!(events);
        let live = Arc::new(Live {
            connection,
            channels: Default::default(),
            known: Mutex::default(),
            broken: CancellationToken::new(),
        });
        *self.live.lock() = Some(Arc::clone(&live));
        self.part.well();
        tries.worked();
        let trouble = loop {
            tokio::select! {
                () = closing.cancelled() => break None,
                () = live.broken.cancelled() => {
                    let reason = format!("rabbitmq at {}: no confirmation", self.endpoint.at);
                    break Some(Trouble { reason, pace: Pace::Soon });
                }
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        let at = &self.endpoint.at;
                        self.part.trouble(&format!("rabbitmq at {at} takes no messages: {reason}"));
                    }
                    Some(Event::ConnectionUnblocked) => self.part.well(),
                    Some(Event::Error(error)) if !live.connection.status().connected() => {
                        break Some(self.endpoint.trouble(&error));
                    }
                    Some(_) => {}
                    None => {
                        let reason = format!("rabbitmq at {}: the connection ended", self.endpoint.at);
                        break Some(Trouble { reason, pace: Pace::Soon });
                    }
                },
            }
        };
        self.live.lock().take();
        // It may be gone already; whoever waits for a confirmation is told either way.
        let bye = live.connection.close(200, "done".into());
        drop(tokio::time::timeout(Duration::from_secs(5), bye).await);
        trouble
    }

    /// How many messages of a queue are ready.
    pub(super) async fn ready(&self, queue: ShortString) -> Result<u64, String> {
        let live = self.live.lock().clone();
        let Some(live) = live else {
            return Err(self.part.now().unwrap_or_default());
        };
        let asked = async {
            let channel = live.connection.create_channel().await?;
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let declared = channel
                .queue_declare(queue, options, FieldTable::default())
                .await?;
            channel.close(200, "done".into()).await?;
            Ok(declared.message_count().into())
        };
        asked
            .await
            .map_err(|error: lapin::Error| format!("rabbitmq: {}", words(&error)))
    }

    async fn send(&self, batch: &[&Publication]) -> Vec<Result<(), PublishError>> {
        let why_not = || {
            let reason = self.part.now();
            PublishError::Destination(
                reason.unwrap_or_else(|| "rabbitmq: not connected".to_owned()),
            )
        };
        let live = self.live.lock().clone();
        let Some(live) = live.filter(|live| !live.connection.status().blocked()) else {
            return vec![Err(why_not()); batch.len()];
        };
        let now_ms = self.clock.now_ms();
        let mut results: Vec<Result<(), PublishError>> = vec![Ok(()); batch.len()];
        let mut sent = Vec::with_capacity(batch.len());
        let mut missing: HashSet<ShortString> = HashSet::new();
        for (index, publication) in batch.iter().enumerate() {
            let result = match publish_of(publication, now_ms) {
                Ok(publish) if missing.contains(&publish.exchange) => {
                    Err(no_exchange(&publish.exchange, "NOT_FOUND"))
                }
                Ok(publish) => match self.exchange(&live, &publish.exchange).await {
                    Ok(()) => {
                        sent.push((index, publish));
                        Ok(())
                    }
                    Err(error) => {
                        missing.insert(publish.exchange);
                        Err(error)
                    }
                },
                Err(error) => Err(error),
            };
            results[index] = result;
        }
        let (places, publishes): (Vec<usize>, Vec<Publish<'_>>) = sent.into_iter().unzip();
        if publishes.is_empty() {
            return results;
        }
        let outcomes = self.confirmed(&live, &publishes).await;
        let largest = publishes.iter().map(|p| p.payload.len()).max();
        for ((place, publish), outcome) in places.iter().zip(&publishes).zip(outcomes) {
            results[*place] = match outcome {
                Some(outcome) => judged(publish, batch[*place], outcome, largest),
                None => Err(why_not()),
            };
        }
        results
    }

    /// Publishes by a channel that is free. `None`s where the server did not answer.
    async fn confirmed(&self, live: &Live, batch: &[Publish<'_>]) -> Vec<Option<Outcome>> {
        let mut slot = match live.channels.iter().find_map(|c| c.try_lock().ok()) {
            Some(free) => free,
            None => live.channels[fastrand::usize(..CHANNELS)].lock().await,
        };
        let usable = |c: &Channel| c.status().connected();
        let opened = match slot.take().filter(usable) {
            Some(channel) => Ok(channel),
            None => confirm::channel(&live.connection).await,
        };
        let channel = match opened {
            Ok(channel) => channel,
            Err(error) => return vec![Some(Outcome::Lost(error)); batch.len()],
        };
        let answers = tokio::time::timeout(PATIENCE, confirm::publish(&channel, batch)).await;
        let Ok(outcomes) = answers else {
            // What is still on its way could be taken for an answer to the next batch.
            live.broken.cancel();
            return vec![None; batch.len()];
        };
        if outcomes.iter().any(|o| matches!(o, Outcome::Lost(_))) {
            live.known.lock().clear();
        } else {
            *slot = Some(channel);
        }
        outcomes.into_iter().map(Some).collect()
    }

    /// Whether an exchange is there. Asked once in the life of a connection.
    async fn exchange(&self, live: &Live, name: &ShortString) -> Result<(), PublishError> {
        if name.as_str().is_empty() || live.known.lock().contains(name) {
            return Ok(());
        }
        let asked = async {
            let channel = live.connection.create_channel().await?;
            let options = ExchangeDeclareOptions {
                passive: true,
                ..ExchangeDeclareOptions::default()
            };
            // Its kind is not looked at where it is only asked for.
            channel
                .exchange_declare(
                    name.clone(),
                    ExchangeKind::Direct,
                    options,
                    FieldTable::default(),
                )
                .await?;
            channel.close(200, "done".into()).await
        };
        match asked.await {
            Ok(()) => {
                live.known.lock().insert(name.clone());
                Ok(())
            }
            Err(error) => Err(no_exchange(name, &words(&error))),
        }
    }
}

fn no_exchange(name: &ShortString, said: &str) -> PublishError {
    PublishError::Destination(format!("rabbitmq: exchange {name}: {said}"))
}

/// Exchange and routing key of an address. A reply goes to the queue it names, whatever that is called.
fn address(publication: &Publication) -> (&str, &str) {
    let address: &str = &publication.destination.address;
    let over = publication.message.topic.as_deref();
    if &*publication.destination.name == "reply" {
        return ("", over.unwrap_or(address));
    }
    let (exchange, key) = address.split_once('/').unwrap_or(("", address));
    (exchange, over.unwrap_or(key))
}

fn publish_of(publication: &Publication, now_ms: u64) -> Result<Publish<'_>, PublishError> {
    let (exchange, key) = address(publication);
    let Some(exchange) = short(exchange) else {
        let problem = "rabbitmq: the name of an exchange has at most 255 bytes";
        return Err(PublishError::Message(problem.to_owned()));
    };
    let written = wire::write(&publication.message, key, now_ms)?;
    Ok(Publish {
        exchange,
        routing_key: written.routing_key,
        properties: written.properties,
        payload: written.payload,
    })
}

/// Whose fault it is. A queue that is configured and missing is a missing destination; a message that names its own way
/// and finds no queue there is unroutable.
fn judged(
    publish: &Publish<'_>,
    publication: &Publication,
    outcome: Outcome,
    largest: Option<usize>,
) -> Result<(), PublishError> {
    let way = format!("rabbitmq: {}/{}", publish.exchange, publish.routing_key);
    let configured = publish.exchange.as_str().is_empty() && publication.message.topic.is_none();
    match outcome {
        Outcome::Taken => Ok(()),
        Outcome::Returned(said) if configured => Err(PublishError::Destination(format!(
            "{way}: there is no such queue ({said})"
        ))),
        Outcome::Returned(said) => Err(PublishError::Message(format!(
            "{way}: no queue wants it ({said})"
        ))),
        Outcome::Refused => {
            let said = "a queue refused it: it is full, or cannot keep it now";
            Err(PublishError::Destination(format!("{way}: {said}")))
        }
        Outcome::Lost(error) => {
            let said = words(&error);
            // The server says so of one message and closes the channel for all: the largest is one of those meant.
            let too_large = reply_code(&error) == Some(406) && said.contains("larger than");
            Err(if too_large && Some(publish.payload.len()) == largest {
                PublishError::Message(format!("{way}: {said}"))
            } else {
                PublishError::Destination(format!("{way}: {said}"))
            })
        }
    }
}

impl Publisher for RabbitPublisher {
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(self.send(batch))
    }
}
