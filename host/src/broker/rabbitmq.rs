//! RabbitMQ.
//!
//! A subscription has a connection of its own, read by a task of its own. The way of a message: [`worker`] → [`source`] →
//! dispatch → the settler beside it → [`subscription`], which acknowledges it or puts it into the subscription's own
//! queue. What is decided without a client: [`wire`] is how a message lies in an AMQP message, [`ledger`] which
//! deliveries are in hand and by which channel they came, [`step`] what becomes of a message, [`link`] when a connection
//! is made again and what is declared then. [`publisher`] has one connection for all outputs, [`confirm`] knows what
//! became of each.
//!
//! What will surprise you:
//! - A queue has one group of readers: whoever reads it competes. The subscription's group is not used.
//! - An acknowledgement has no answer. It is written, and is done as far as anybody can know; once reading has stopped, a
//!   settlement waits for an answer that the server gives after it.
//! - A released message is published again and acknowledged, not returned ([`step`]). So it leaves its place in the queue.
//! - The server bounds what is in hand in messages, not in bytes.
//! - A message whose properties or header names are not UTF-8 breaks the client's connection whenever it is delivered.
//!   It has to be taken out of the queue by other means; `health` says that the connection breaks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::waiting::Troubles;
use crate::commit::Destination;
use crate::config::rabbitmq::{Declare, QueueKind, RabbitMq};
use crate::delivery::Inbox;
use crate::place::PlaceKind;
use crate::ports::{
    Broker, BrokerError, Capabilities, Health, Lag, Ordering, Publisher, Subscribed,
    SubscriptionSpec, half_of,
};

mod arriving;
mod barrier;
mod confirm;
mod connect;
mod consumers;
mod declare;
mod ledger;
mod link;
mod look;
mod notes;
mod outlet;
mod parking;
mod prefetch;
mod publisher;
mod rest;
mod source;
mod step;
mod subscription;
mod wire;
mod worker;

pub use link::retry_queue;
pub use look::Look;

use connect::Endpoint;
use link::{Tries, dead_letters};
use outlet::Outlet;
use prefetch::Sizes;
use publisher::RabbitPublisher;
use source::{RabbitSettler, RabbitSource};
use subscription::{AT_ONCE, Subscription};
use worker::Worker;

/// Least and most time between two tries to connect.
const TRIES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A named RabbitMQ server.
pub struct RabbitBroker {
    name: Arc<str>,
    endpoint: Endpoint,
    quorum: bool,
    patience: Duration,
    declare: Declare,
    troubles: Arc<Troubles>,
    outlet: Arc<Outlet>,
    publisher: Arc<RabbitPublisher>,
    subscriptions: Mutex<Vec<Arc<Subscription>>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl RabbitBroker {
    /// Opens the broker. Connects in the background: an absent server is waited for. Must be called within a runtime.
    pub fn open(name: impl Into<Arc<str>>, config: &RabbitMq) -> Result<Self, BrokerError> {
        if let Some(fault) = config.faults().first() {
            let path = fault.path.join(".");
            let reason = format!("rabbitmq: {path}: {}; {}", fault.message, fault.help);
            return Err(BrokerError::Refused(reason));
        }
        let endpoint = Endpoint::new(config)?;
        let troubles = Troubles::new("rabbitmq");
        let part = troubles.part("rabbitmq: not connected yet");
        let declared = declare::all(&config.declare);
        let outlet = Arc::new(Outlet::new(endpoint.clone(), part, declared));
        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        let tries = Tries::new(TRIES.0, TRIES.1);
        tasks.spawn(Arc::clone(&outlet).keep(tries, closing.child_token()));
        Ok(Self {
            name: name.into(),
            endpoint,
            quorum: config.queue_kind == QueueKind::Quorum,
            patience: config.consumer_timeout,
            declare: config.declare.clone(),
            troubles,
            publisher: Arc::new(RabbitPublisher::new(Arc::clone(&outlet))),
            outlet,
            subscriptions: Mutex::default(),
            closing,
            tasks,
        })
    }

    /// Opens the broker for a command: it publishes as soon as it is connected, and makes nothing that is declared.
    ///
    /// # Errors
    /// When what is configured cannot be used.
    pub fn open_client(name: impl Into<Arc<str>>, config: &RabbitMq) -> Result<Self, BrokerError> {
        let config = RabbitMq {
            declare: Declare::default(),
            ..config.clone()
        };
        let mut broker = Self::open(name, &config)?;
        let publisher = RabbitPublisher::new(Arc::clone(&broker.outlet));
        broker.publisher = Arc::new(publisher.waiting(look::PATIENCE));
        Ok(broker)
    }

    fn start(&self, spec: &SubscriptionSpec, inbox: Arc<Inbox>) -> Result<Subscribed, BrokerError> {
        self.check(spec)?;
        let sub = Arc::new(Subscription::new(
            &self.name,
            spec,
            self.quorum,
            half_of(self.patience),
            declare::for_queue(&self.declare, &spec.address),
            Arc::clone(&self.outlet),
        )?);
        self.subscriptions.lock().push(Arc::clone(&sub));
        // Twice the window for each of two consumers.
        let (sender, read) = mpsc::channel(spec.prefetch.saturating_mul(4).max(AT_ONCE));
        let stopped = CancellationToken::new();
        let closing = self.closing.child_token();
        let worker = Worker {
            sub: Arc::clone(&sub),
            endpoint: self.endpoint.clone(),
            part: self.troubles.part("rabbitmq: not connected yet"),
            tries: Tries::new(TRIES.0, TRIES.1),
            sizes: Sizes::default(),
            read: sender,
            stopped: stopped.clone(),
            closing: closing.clone(),
        };
        self.tasks.spawn(worker.run());
        let guard = Arc::new(closing.drop_guard());
        Ok(Subscribed {
            source: Box::new(RabbitSource {
                sub: Arc::clone(&sub),
                inbox,
                read,
                ready: VecDeque::new(),
                asking: false,
                stopped,
                _worker: Arc::clone(&guard),
            }),
            settler: Box::new(RabbitSettler {
                sub,
                unproven: Default::default(),
                _worker: guard,
            }),
        })
    }

    /// An order promise needs a queue that says of itself that it has a single active consumer. The server does not tell
    /// what a queue is; it only refuses to declare it otherwise.
    fn check(&self, spec: &SubscriptionSpec) -> Result<(), BrokerError> {
        let declared = self.declare.queues.get(&*spec.address);
        if spec.ordered && !declared.is_some_and(|queue| queue.single_active_consumer) {
            return Err(BrokerError::Refused(format!(
                "rabbitmq: an order cannot be promised for queue `{}`: declare it with `single_active_consumer: true`",
                spec.address
            )));
        }
        Ok(())
    }

    fn find(&self, spec: &SubscriptionSpec) -> Option<Arc<Subscription>> {
        let subscriptions = self.subscriptions.lock();
        let mut of = subscriptions.iter().rev();
        let retry = retry_queue(&spec.name, &spec.plugin);
        of.find(|sub| sub.retry.as_str() == retry).map(Arc::clone)
    }
}

impl Broker for RabbitBroker {
    fn name(&self) -> &str {
        &self.name
    }

    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    fn capabilities(&self, _: PlaceKind) -> Capabilities {
        Capabilities {
            redelivers: true,
            // With a single active consumer, which only the queue's declaration can say.
            orders: Ordering::Source,
            delays: true,
            counts_deliveries: true,
            keeps_attempts: true,
            native_dead_letter: true,
            atomic: false,
            // It counts from the delivery, and the server takes no word for that something is still at work.
            patience: Some(self.patience),
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

    /// One that the configuration declares is made as it says.
    fn keep_dead_letters(&self, place: &Destination) {
        if let Some(queue) = dead_letters(&place.address, self.quorum) {
            self.outlet.own(queue);
        }
    }

    fn health(&self) -> Health {
        self.troubles.health()
    }

    fn lag<'a>(&'a self, spec: &'a SubscriptionSpec) -> BoxFuture<'a, Result<Lag, BrokerError>> {
        Box::pin(async move {
            let unavailable = |e: String| BrokerError::Unavailable(e);
            let Some(sub) = self.find(spec) else {
                return Err(unavailable("rabbitmq: not subscribed".to_owned()));
            };
            let ready = async |queue| self.outlet.ready(queue).await.map_err(unavailable);
            let mut lag = Lag {
                waiting: 0,
                pending: sub.in_hand() as u64,
            };
            for queue in [&sub.queue, &sub.retry] {
                let found = ready(queue.clone()).await?;
                lag.waiting += found
                    .ok_or_else(|| unavailable(format!("rabbitmq: there is no queue `{queue}`")))?;
            }
            for (tier, queue) in sub.holding() {
                match ready(queue).await? {
                    Some(ready) => lag.pending += ready,
                    None => sub.gone(tier),
                }
            }
            Ok(lag)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.closing.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        })
    }
}

impl Drop for RabbitBroker {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
