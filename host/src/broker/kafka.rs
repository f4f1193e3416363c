//! Kafka.
//!
//! A subscription is a member of a consumer group with a client of its own, polled by a thread of its own. The way of a
//! message: [`member`] (the thread) → buffer of [`control`] → [`source`] → dispatch → [`settler`] → [`control`] → the
//! thread again, which commits. What the thread decides is in [`control`], which knows no client; [`watermark`] is how
//! far one partition is settled, [`metadata`] how attempts are kept beside the committed offset, [`wire`] how a message
//! lies in a record.
//!
//! What will surprise you:
//! - A settlement is a note in memory; the offset is committed within a second, or at a revocation, or at the end. Only
//!   once reading has stopped does a settlement wait for its commit.
//! - A released message is handed out again from memory: the partition is not read again for it.
//! - Nothing tells that a Kafka client is well but its statistics ([`statistics`], [`trouble`]).
//! - Two of the client's accessors panic on bytes that are not UTF-8 and come from others; [`record`] and [`committed`]
//!   go past them.

use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinHandle as Task;

use crate::config::kafka::Kafka;
use crate::delivery::Inbox;
use crate::place::PlaceKind;
use crate::ports::{
    Broker, BrokerError, Capabilities, Health, Lag, Ordering, Publisher, Subscribed,
    SubscriptionSpec,
};

mod client;
mod committed;
mod confirm;
mod context;
mod control;
mod declare;
mod describe;
mod ids;
mod member;
mod metadata;
mod publisher;
mod reader;
mod record;
mod sending;
mod settler;
mod source;
mod statistics;
mod subscription;
mod trouble;
mod watermark;
mod wire;

pub use reader::Reader;
pub use subscription::retry_topic;

use member::Shared;
use publisher::KafkaPublisher;
use trouble::Trouble;

/// A named Kafka cluster.
pub struct KafkaBroker {
    name: Arc<str>,
    kafka: Kafka,
    publisher: Arc<KafkaPublisher>,
    members: Mutex<Vec<Member>>,
    /// Topics that are to be made, and what stands in the way.
    declaring: Option<(Task<()>, Arc<Trouble>)>,
}

/// An open subscription as the broker sees it.
struct Member {
    plugin: Arc<str>,
    subscription: Arc<str>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl KafkaBroker {
    /// Opens the broker, and makes the topics it declares. Connects in the background: absent servers are waited for.
    /// Must be called within a runtime.
    pub fn open(name: impl Into<Arc<str>>, kafka: &Kafka) -> Result<Self, BrokerError> {
        let mut broker = Self::open_client(name, kafka)?;
        if !kafka.declare.is_empty() {
            let trouble = Arc::new(Trouble::new(format!("topics of {}", broker.name)));
            let task = tokio::spawn(declare::all(kafka.clone(), Arc::clone(&trouble)));
            broker.declaring = Some((task, trouble));
        }
        Ok(broker)
    }

    /// As [`open`](Self::open), for a command: makes no topics.
    pub fn open_client(name: impl Into<Arc<str>>, kafka: &Kafka) -> Result<Self, BrokerError> {
        let name = name.into();
        let publisher = KafkaPublisher::open(&name, kafka).map_err(refused)?;
        Ok(Self {
            name,
            kafka: kafka.clone(),
            publisher: Arc::new(publisher),
            members: Mutex::new(Vec::new()),
            declaring: None,
        })
    }

    /// Looks into a topic, beside whoever consumes from it.
    pub fn reader(&self, topic: &str) -> Result<Reader, BrokerError> {
        Reader::open(&self.name, &self.kafka, topic)
    }

    fn start(&self, spec: &SubscriptionSpec, inbox: Arc<Inbox>) -> Result<Subscribed, BrokerError> {
        let opened = subscription::open(&self.name, &self.kafka, spec, inbox)?;
        self.members.lock().push(Member {
            plugin: Arc::clone(&spec.plugin),
            subscription: Arc::clone(&spec.name),
            shared: opened.shared,
            thread: opened.thread,
        });
        Ok(opened.subscribed)
    }

    fn lag_of(&self, spec: &SubscriptionSpec) -> Option<Lag> {
        let members = self.members.lock();
        let mut of = members.iter().rev();
        let member = of.find(|m| m.plugin == spec.plugin && m.subscription == spec.name)?;
        let statistics = member.shared.statistics.lock();
        let control = member.shared.control.lock();
        Some(Lag {
            waiting: control.waiting(|place| statistics.end(place)),
            pending: control.pending(),
        })
    }

    fn trouble(&self) -> Option<String> {
        let members = self.members.lock();
        let of_members = || members.iter().find_map(|m| m.shared.trouble.now());
        let declaring = self.declaring.as_ref();
        of_members()
            .or_else(|| declaring.and_then(|(_, trouble)| trouble.now()))
            .or_else(|| self.publisher.trouble())
    }
}

/// What the client says of a configuration it does not take.
fn refused(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Refused(format!("kafka: {error}"))
}

impl Broker for KafkaBroker {
    fn name(&self) -> &str {
        &self.name
    }

    fn system(&self) -> &'static str {
        "kafka"
    }

    fn capabilities(&self, _: PlaceKind) -> Capabilities {
        Capabilities {
            redelivers: true,
            orders: Ordering::Partition,
            // In the adapter's memory, within the window of the partition.
            delays: true,
            counts_deliveries: true,
            keeps_attempts: true,
            native_dead_letter: false,
            atomic: false,
            // The thread that polls never waits for a handler.
            patience: None,
        }
    }

    fn subscribe<'a>(
        &'a self,
        spec: SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> BoxFuture<'a, Result<Subscribed, BrokerError>> {
        Box::pin(async move { self.start(&spec, inbox) })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.publisher) as Arc<dyn Publisher>
    }

    fn health(&self) -> Health {
        self.trouble().map_or(Health::Ready, Health::Waiting)
    }

    fn lag<'a>(&'a self, spec: &'a SubscriptionSpec) -> BoxFuture<'a, Result<Lag, BrokerError>> {
        Box::pin(async move {
            let unknown = || BrokerError::Unavailable("kafka: not subscribed".to_owned());
            self.lag_of(spec).ok_or_else(unknown)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some((task, _)) = &self.declaring {
                task.abort();
            }
            let members = std::mem::take(&mut *self.members.lock());
            for member in &members {
                member.shared.close();
            }
            let joined = tokio::task::spawn_blocking(move || {
                for member in members {
                    if member.thread.join().is_err() {
                        tracing::error!(subscription = %member.subscription, "kafka: its thread ended in a panic");
                    }
                }
            });
            if let Err(error) = joined.await {
                tracing::error!(%error, "kafka: closing");
            }
        })
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        if let Some((task, _)) = &self.declaring {
            task.abort();
        }
        for member in self.members.lock().iter() {
            member.shared.close();
        }
    }
}
