//! NATS: subjects, and the streams of JetStream.
//!
//! A broker has one connection ([`link`], made as [`connect`] says). The way of a message of a stream: [`worker`] asks a
//! durable pull consumer for it ([`pull`]) → [`stream`] holds it → [`source`] hands it over and settles it. A message of a
//! subject takes a shorter way: [`core`]. What is decided without a client: [`wire`] is how a message lies in a NATS message,
//! [`step`] what becomes of one that arrives, [`ledger`] which are in hand, [`pull`] how much to ask for. [`consumer`] and
//! [`declare`] make what is missing at the server, [`publisher`] publishes.
//!
//! What will surprise you:
//! - Whatever is released goes to the subscription's own stream, `retry~{subscription}~{plugin}`, not back ([`step`]).
//! - A settlement is confirmed, and still no proof of ownership: the server takes it also from a host whose message was given
//!   to another one meanwhile.
//! - A consumer that somebody deletes is made again and begins anew: what the stream still has comes again, all of it.
//! - JetStream writes to disk within two minutes unless told otherwise (`sync_interval`): a crash of the server loses
//!   nothing, a loss of power may.
//! - A message whose headers are not UTF-8, or have a lone carriage return, breaks the client's connection whenever it is
//!   delivered. It has to be taken out of the stream by other means; `health` says that the connection breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Config as StreamConfig;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::waiting::{Tries, Troubles};
use crate::config::nats::Nats;
use crate::delivery::Inbox;
use crate::place::PlaceKind;
use crate::ports::{
    Broker, BrokerError, Capabilities, Clock, Health, Lag, Ordering, Publisher, Subscribed,
    SubscriptionSpec,
};

mod connect;
mod consumer;
mod core;
mod declare;
mod ledger;
mod link;
mod look;
mod publisher;
mod pull;
mod source;
mod step;
mod stream;
mod wire;
mod worker;

pub use declare::retry_subject;
pub use look::Shelf;

use connect::Endpoint;
use core::{CoreSettler, CoreSource, CoreSubscription};
use link::Link;
use publisher::NatsPublisher;
use source::{StreamSettler, StreamSource};
use stream::Subscription;
use worker::Worker;

/// Least and most time between two tries to set up a subscription.
const TRIES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A named NATS server, or several of one cluster.
pub struct NatsBroker {
    name: Arc<str>,
    config: Nats,
    declared: Arc<Vec<StreamConfig>>,
    troubles: Arc<Troubles>,
    link: Arc<Link>,
    publisher: Arc<NatsPublisher>,
    streams: Mutex<Vec<Arc<Subscription>>>,
    subjects: Mutex<Vec<Arc<CoreSubscription>>>,
    /// Messages of subjects that nobody will handle: they came too fast, or were given back.
    lost: Arc<AtomicU64>,
    clock: Clock,
    /// Subscriptions are to end.
    closing: CancellationToken,
    /// The connection is, after them.
    leaving: CancellationToken,
    workers: TaskTracker,
    keeper: TaskTracker,
}

impl NatsBroker {
    /// Opens the broker. Connects in the background: an absent server is waited for. Must be called within a runtime.
    pub fn open(name: impl Into<Arc<str>>, config: &Nats) -> Result<Self, BrokerError> {
        let endpoint = Endpoint::new(config)?;
        // What it says of wrong credentials is told now.
        drop(endpoint.options()?);
        let troubles = Troubles::new("nats");
        let part = troubles.part(&format!("nats at {}: not connected yet", endpoint.at));
        let link = Link::new(&endpoint, part);
        let leaving = CancellationToken::new();
        let keeper = TaskTracker::new();
        let tries = Tries::new(TRIES.0, TRIES.1);
        keeper.spawn(Arc::clone(&link).keep(endpoint, tries, leaving.clone()));
        let declared = Arc::new(declare::declared(&config.declare));
        let clock = Clock::system();
        let publisher = NatsPublisher::new(Arc::clone(&link), Arc::clone(&declared), clock);
        Ok(Self {
            name: name.into(),
            config: config.clone(),
            declared,
            troubles,
            link,
            publisher: Arc::new(publisher),
            streams: Mutex::default(),
            subjects: Mutex::default(),
            lost: Arc::default(),
            clock,
            closing: CancellationToken::new(),
            leaving,
            workers: TaskTracker::new(),
            keeper,
        })
    }

    /// One for a command: it waits for the connection when it publishes, and reads nothing.
    ///
    /// # Errors
    /// When its credentials cannot be read.
    pub fn open_client(name: impl Into<Arc<str>>, config: &Nats) -> Result<Self, BrokerError> {
        let mut broker = Self::open(name, config)?;
        let (link, declared) = (Arc::clone(&broker.link), Arc::clone(&broker.declared));
        let publisher = NatsPublisher::new(link, declared, broker.clock);
        broker.publisher = Arc::new(publisher.waiting(look::PATIENCE));
        Ok(broker)
    }

    fn read_stream(&self, spec: &SubscriptionSpec, inbox: Arc<Inbox>) -> Subscribed {
        let closing = self.closing.child_token();
        let sub = Arc::new(Subscription::new(
            &self.name,
            spec,
            &self.config,
            Arc::clone(&self.link),
            self.clock,
            closing.clone(),
        ));
        self.streams.lock().push(Arc::clone(&sub));
        let stopped = CancellationToken::new();
        let of = format!("nats: stream {} is not read yet", spec.address);
        let worker = Worker {
            sub: Arc::clone(&sub),
            declared: Arc::clone(&self.declared),
            part: self.troubles.part(&of),
            tries: Tries::new(TRIES.0, TRIES.1),
            stopped: stopped.clone(),
            closing: closing.clone(),
        };
        self.workers.spawn(worker.run());
        let alive = Arc::clone(&sub).keep_alive(self.config.ack_wait, closing.clone());
        self.workers.spawn(alive);
        let guard = Arc::new(closing.drop_guard());
        Subscribed {
            source: Box::new(StreamSource {
                sub: Arc::clone(&sub),
                inbox,
                stopped,
                _worker: Arc::clone(&guard),
            }),
            settler: Box::new(StreamSettler {
                sub,
                _worker: guard,
            }),
        }
    }

    fn read_subject(&self, spec: &SubscriptionSpec, inbox: Arc<Inbox>) -> Subscribed {
        let (link, lost) = (Arc::clone(&self.link), Arc::clone(&self.lost));
        let sub = CoreSubscription::new(&self.name, spec, link, self.clock, lost);
        let sub = Arc::new(sub);
        self.subjects.lock().push(Arc::clone(&sub));
        let closing = self.closing.child_token();
        let of = format!("nats: subject {} is not read yet", spec.address);
        let part = self.troubles.part(&of);
        self.workers
            .spawn(Arc::clone(&sub).run(part, closing.clone()));
        let guard = Arc::new(closing.drop_guard());
        Subscribed {
            source: Box::new(CoreSource {
                sub: Arc::clone(&sub),
                inbox,
                _worker: Arc::clone(&guard),
            }),
            settler: Box::new(CoreSettler {
                sub,
                _worker: guard,
            }),
        }
    }

    async fn depth(&self, spec: &SubscriptionSpec) -> Result<Lag, BrokerError> {
        let unavailable = BrokerError::Unavailable;
        if spec.kind == PlaceKind::Subject {
            let subjects = self.subjects.lock();
            let of = |sub: &&Arc<CoreSubscription>| sub.reading.subscription == spec.name;
            let waiting = subjects
                .iter()
                .rev()
                .find(of)
                .map_or(0, |s| s.heard.waiting());
            return Ok(Lag {
                waiting: waiting as u64,
                pending: 0,
            });
        }
        let client = self.link.client();
        let client = client.ok_or_else(|| unavailable(self.link.why_not()))?;
        let context = jetstream::new(client);
        let retry = declare::retry_stream(&spec.name, &spec.plugin);
        let consumers = [
            (spec.address.to_string(), spec.group.to_string()),
            (retry, consumer::OWN.to_owned()),
        ];
        let mut lag = Lag::default();
        for (stream, consumer) in consumers {
            let failed = |e: String| unavailable(format!("nats: stream {stream}: {e}"));
            let handle = context.get_stream_no_info(&stream).await;
            let handle = handle.map_err(|e| failed(e.to_string()))?;
            let info = handle.consumer_info(&consumer).await;
            let info = info.map_err(|e| failed(e.to_string()))?;
            lag.waiting += info.num_pending;
            lag.pending += info.num_ack_pending as u64;
        }
        Ok(lag)
    }
}

impl Broker for NatsBroker {
    fn name(&self) -> &str {
        &self.name
    }

    fn system(&self) -> &'static str {
        "nats"
    }

    fn capabilities(&self, kind: PlaceKind) -> Capabilities {
        let stream = kind == PlaceKind::Stream;
        Capabilities {
            redelivers: stream,
            orders: Ordering::None,
            delays: stream,
            counts_deliveries: stream,
            keeps_attempts: stream,
            native_dead_letter: false,
            atomic: false,
            // The server is asked for more time for as long as it takes.
            patience: None,
        }
    }

    fn subscribe<'a>(
        &'a self,
        spec: SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> BoxFuture<'a, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            Ok(match spec.kind {
                PlaceKind::Subject => self.read_subject(&spec, inbox),
                _ => self.read_stream(&spec, inbox),
            })
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::clone(&self.publisher) as Arc<dyn Publisher>
    }

    fn health(&self) -> Health {
        self.troubles.health()
    }

    fn lag<'a>(&'a self, spec: &'a SubscriptionSpec) -> BoxFuture<'a, Result<Lag, BrokerError>> {
        Box::pin(self.depth(spec))
    }

    fn lost(&self) -> u64 {
        self.lost.load(Atomic::Relaxed) + self.link.overflown()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.closing.cancel();
            self.workers.close();
            self.workers.wait().await;
            self.leaving.cancel();
            self.keeper.close();
            self.keeper.wait().await;
        })
    }
}

impl Drop for NatsBroker {
    fn drop(&mut self) {
        self.closing.cancel();
        self.leaving.cancel();
    }
}
