//! Looks into a queue, for commands.
//!
//! A queue cannot be read without taking messages out of it. So they are taken and not acknowledged, which keeps them from
//! other readers meanwhile, and the server has them again when the look ends, in their order where they were not more than
//! one answer. It notes that they were delivered: a quorum queue counts it towards its delivery limit, where it has one, and would drop a message that was
//! looked at too often. Queues of the host's own have one that nobody reaches; in others a look ends before it comes to that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use data_encoding::HEXLOWER;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use sha2::{Digest as _, Sha256};

use super::RabbitBroker;
use super::connect::{told, within};
use super::consumers::qos;
use super::declare::{self, Piece};
use super::link::dead_letters;
use super::outlet::Live;
use super::wire::{self, Reading, Received};
use crate::message::Message;
use crate::ports::BrokerError;

/// How long a connection, or an answer, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing comes for so long where something should: somebody else has it.
const LULL: Duration = Duration::from_secs(2);
/// Looked at so often, a message of a queue whose limit is not known is not taken again. Servers drop after 20 unless told
/// otherwise.
const OFTEN: u64 = 10;

/// Messages that were taken out of a queue to be looked at.
pub struct Look {
    /// Keeps its connection.
    _live: Arc<Live>,
    channel: Channel,
    queue: ShortString,
    reading: Reading,
    /// By position. What is not in it any more is gone for good.
    taken: HashMap<String, u64>,
    /// No limit would be reached by looking.
    harmless: bool,
    /// How many there are still to be looked at.
    left: u64,
}

impl RabbitBroker {
    /// How many messages of a queue are ready; none where there is no such queue.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn count(&self, queue: &str) -> Result<u64, BrokerError> {
        self.connected().await?;
        let ready = self.outlet.ready(name(queue)?).await;
        Ok(ready.map_err(BrokerError::Unavailable)?.unwrap_or(0))
    }

    /// Begins to look into a queue.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn look(&self, queue: &str) -> Result<Look, BrokerError> {
        let live = self.connected().await?;
        let name = name(queue)?;
        let left = self.count(queue).await?;
        let harmless = left == 0 || self.is_ours(&live, queue).await?;
        let channel = within(PATIENCE, live.connection.create_channel()).await;
        let queue: Arc<str> = queue.into();
        Ok(Look {
            channel: channel.map_err(|error| unavailable(&error))?,
            queue: name,
            reading: Reading {
                broker: Arc::clone(&self.name),
                subscription: "".into(),
                queue: Arc::clone(&queue),
                source: Arc::clone(&queue),
                group: "".into(),
                own: false,
                prefix: queue,
            },
            taken: HashMap::new(),
            harmless,
            left,
            _live: live,
        })
    }

    /// Makes a queue of the host's own, where it is missing.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn make(&self, queue: &str) -> Result<(), BrokerError> {
        let live = self.connected().await?;
        let queue = dead_letters(queue, self.quorum).ok_or_else(too_long)?;
        let made = live.queue(&queue).await;
        made.map_err(|error| unavailable(&error))
    }

    async fn connected(&self) -> Result<Arc<Live>, BrokerError> {
        let live = self.outlet.connected(PATIENCE).await;
        live.map_err(BrokerError::Unavailable)
    }

    /// Whether a queue is as the host makes them: then the server has nothing against its declaration.
    async fn is_ours(&self, live: &Live, queue: &str) -> Result<bool, BrokerError> {
        let queue = dead_letters(queue, self.quorum).ok_or_else(too_long)?;
        let piece = [Piece::Queue(queue)];
        let problems = within(PATIENCE, declare::make(&live.connection, &piece)).await;
        Ok(problems.map_err(|error| unavailable(&error))?.is_empty())
    }
}

fn name(queue: &str) -> Result<ShortString, BrokerError> {
    wire::short(queue).ok_or_else(too_long)
}

fn too_long() -> BrokerError {
    BrokerError::Refused("rabbitmq: the name of a queue has at most 255 bytes".to_owned())
}

fn unavailable(error: &lapin::Error) -> BrokerError {
    BrokerError::Unavailable(format!("rabbitmq: {}", told(error)))
}

impl Look {
    /// The next messages, at most `limit`, oldest first. None at the end.
    ///
    /// # Errors
    /// When the server does not answer, or a message was looked at too often.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Message>, BrokerError> {
        let wanted = usize::try_from(self.left).unwrap_or(limit).min(limit);
        let Ok(prefetch @ 1..) = u16::try_from(wanted) else {
            return Ok(Vec::new());
        };
        // One by one (`basic.get`) they would come back in any order, as those of as many consumers do.
        let (mut consumer, failed) = (self.consume(prefetch).await, |e| unavailable(&e));
        let consumer = consumer.as_mut().map_err(|e| unavailable(e))?;
        let mut found = Vec::new();
        while found.len() < wanted {
            let Ok(next) = tokio::time::timeout(LULL, consumer.next()).await else {
                break;
            };
            let Some(delivery) = next.transpose().map_err(failed)? else {
                break;
            };
            found.push(self.taken(delivery)?);
        }
        let options = BasicCancelOptions::default();
        let cancelled = self.channel.basic_cancel(consumer.tag(), options);
        within(PATIENCE, cancelled).await.map_err(failed)?;
        // Somebody else reads it too, where there are fewer than there were.
        self.left = match found.len() < wanted {
            true => 0,
            false => self.left - found.len() as u64,
        };
        Ok(found)
    }

    async fn consume(&self, prefetch: u16) -> lapin::Result<Consumer> {
        qos(&self.channel, prefetch).await?;
        let options = BasicConsumeOptions::default();
        let table = FieldTable::default();
        let queue = self.queue.clone();
        let consuming = self.channel.basic_consume(queue, "".into(), options, table);
        within(PATIENCE, consuming).await
    }

    fn taken(&mut self, delivery: Delivery) -> Result<Message, BrokerError> {
        let received = Received::from(delivery);
        let times = received.delivery_count().unwrap_or(0);
        if times >= OFTEN && !self.harmless {
            return Err(BrokerError::Refused(format!(
                "rabbitmq: a message of `{}` came back {times} times, and the queue may drop it after some more: it is not looked at again. Give the queue a higher `x-delivery-limit`",
                self.queue
            )));
        }
        let position = self.position(&received);
        self.taken.insert(position.clone(), received.tag);
        let mut message = wire::read(&received, &self.reading, 1, ByteString::new);
        message.origin.position = position.into();
        Ok(message)
    }

    /// What a message is known by, in this look and in later ones. Those that are the same are numbered.
    fn position(&self, of: &Received) -> String {
        let mut hash = Sha256::new();
        let id = of.properties.message_id().as_ref().map(ShortString::as_str);
        hash.update(id.unwrap_or_default());
        hash.update([0]);
        hash.update(format!("{:?}", of.header(wire::TIMESTAMP_MS)));
        hash.update(&of.payload);
        let mut position = HEXLOWER.encode(&hash.finalize()[..8]);
        let first = position.clone();
        let mut number = 1;
        while self.taken.contains_key(&position) {
            number += 1;
            position = format!("{first}-{number}");
        }
        position
    }

    /// Messages of these positions are gone for good. Answers how many there were.
    ///
    /// # Errors
    /// When the server does not answer: it may have them again.
    pub async fn remove(&mut self, positions: &[String]) -> Result<u64, BrokerError> {
        let mut removed = 0;
        for position in positions {
            if let Some(tag) = self.taken.remove(position) {
                let acked = self.channel.basic_ack(tag, BasicAckOptions::default());
                let acked = within(PATIENCE, acked).await;
                acked.map_err(|error| unavailable(&error))?;
                removed += 1;
            }
        }
        // It answers in order.
        let done = qos(&self.channel, 1).await;
        done.map_err(|error| unavailable(&error))?;
        Ok(removed)
    }

    /// Whether a message is among those that were taken.
    pub fn has(&self, position: &str) -> bool {
        self.taken.contains_key(position)
    }

    /// Gives back what is left, at its places.
    pub async fn end(self) {
        // Where the connection is gone, the server has it already.
        drop(within(PATIENCE, self.channel.close(200, "done".into())).await);
    }
}
