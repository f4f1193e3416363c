//! Opening a queue: its parts, its tasks, and how much it has before it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::reader::{Reader, Waiter};
use super::recovery::Recovery;
use super::source::Lane;
use super::{ASK, Keys, Kind, Queue, QueueSettler, QueueSource};
use crate::broker::redis::connection::Link;
use crate::broker::redis::envelope::Reading;
use crate::broker::redis::subscription::retry_of;
use crate::broker::redis::{RedisBroker, entry, keys as names, lease};
use crate::delivery::Inbox;
use crate::place::PlaceKind;
use crate::ports::{BrokerError, Lag, SubscriptionSpec};

impl RedisBroker {
    /// Opens a subscription to a list or a sorted set.
    pub(in crate::broker::redis) fn start_queue(
        &self,
        spec: &SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> (QueueSource, QueueSettler) {
        let kind = match spec.kind {
            PlaceKind::SortedSet => Kind::SortedSet,
            _ => Kind::List,
        };
        let retry = self.retry_list(spec);
        self.open_queues(vec![self.queue(spec, kind, &spec.address, 0), retry], inbox)
    }

    /// Opens what a subscription has beside channels, which keep nothing: the list of what is redriven to it.
    pub(in crate::broker::redis) fn start_redriven(
        &self,
        spec: &SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> (QueueSource, QueueSettler) {
        let retry = self.retry_list(spec);
        self.open_queues(vec![retry], inbox)
    }

    fn open_queues(
        &self,
        queues: Vec<Arc<Queue>>,
        inbox: Arc<Inbox>,
    ) -> (QueueSource, QueueSettler) {
        let living = self.closing.child_token();
        let reading = self.closing.child_token();
        let lanes = queues.iter().map(|queue| {
            self.leases.spawn(lease::keep(
                Arc::clone(queue),
                self.troubles.part(),
                living.clone(),
            ));
            self.run(queue, &reading)
        });
        let lanes = lanes.collect();
        let lease = Arc::new(living.drop_guard());
        let source = QueueSource {
            lanes,
            inbox,
            ready: VecDeque::new(),
            reading: reading.clone(),
            _reading: reading.drop_guard(),
            _lease: Arc::clone(&lease),
        };
        let settler = QueueSettler {
            queues,
            _lease: lease,
        };
        (source, settler)
    }

    /// The list that redriven dead letters of a subscription are read from.
    fn retry_list(&self, spec: &SubscriptionSpec) -> Arc<Queue> {
        self.queue(spec, Kind::List, &retry_of(&self.options, spec), 1)
    }

    fn queue(&self, spec: &SubscriptionSpec, kind: Kind, place: &str, first: u64) -> Arc<Queue> {
        let consumer = names::consumer(&self.options.host).into();
        Arc::new(Queue {
            options: Arc::clone(&self.options),
            scripts: Arc::clone(&self.scripts),
            kind,
            own: first == 0,
            keys: Keys::new(place),
            reading: Reading {
                broker: Arc::clone(&self.options.name),
                subscription: Arc::clone(&spec.name),
                place: place.into(),
                group: Arc::clone(&spec.group),
            },
            reads: Link::new(self.endpoint.clone(), self.troubles.part()),
            data: Arc::clone(&self.data),
            control: Arc::clone(&self.control),
            ledger: Mutex::new(Ledger::new(consumer, first)),
            registered: watch::Sender::new(None),
            doubt: Notify::new(),
            wake: Notify::new(),
            idle: Notify::new(),
        })
    }

    /// Starts the tasks of one queue.
    fn run(&self, queue: &Arc<Queue>, reading: &CancellationToken) -> Lane {
        let spawn = |task: futures_util::future::BoxFuture<'static, ()>| {
            tokio::spawn(reading.clone().run_until_cancelled_owned(task));
        };
        let (asks, asked) = mpsc::channel(1);
        let (fresh_in, fresh) = mpsc::channel(1);
        let most = match queue.kind {
            Kind::SortedSet => ASK,
            Kind::List => self.options.block,
        };
        spawn(Box::pin(
            Reader {
                queue: Arc::clone(queue),
                part: self.troubles.part(),
                asks: asked,
                fresh: fresh_in,
                most,
            }
            .run(),
        ));
        spawn(Box::pin(
            Recovery {
                queue: Arc::clone(queue),
                part: self.troubles.part(),
            }
            .run(),
        ));
        // What is redriven may come a moment later: it has no connection to wait on.
        if queue.own && queue.kind == Kind::List {
            spawn(Box::pin(
                Waiter {
                    queue: Arc::clone(queue),
                    endpoint: self.endpoint.of_key(&queue.keys.place),
                    part: self.troubles.part(),
                }
                .run(),
            ));
        }
        Lane {
            queue: Arc::clone(queue),
            asks,
            asked: false,
            fresh,
        }
    }

    /// How much a list or a sorted set still has before it, with what is redriven to its subscription.
    pub(in crate::broker::redis) async fn queue_lag(
        &self,
        spec: &SubscriptionSpec,
    ) -> Result<Lag, BrokerError> {
        let retry = retry_of(&self.options, spec);
        let length = match spec.kind {
            PlaceKind::SortedSet => "ZCARD",
            PlaceKind::List => "LLEN",
            // Nothing of a channel is kept.
            _ => "EXISTS",
        };
        let (own, again) = (Keys::new(&spec.address), Keys::new(&retry));
        let counts = [
            (length, &own.place),
            ("LLEN", &again.place),
            ("HLEN", &own.items),
            ("HLEN", &again.items),
        ];
        let mut lag = Lag::default();
        for (at, (verb, key)) in counts.into_iter().enumerate() {
            let answer = self.control.query(redis::cmd(verb).arg(key)).await;
            let answer = answer.map_err(|e| self.control.error(&e))?;
            let count = entry::int(&answer).and_then(|n| u64::try_from(n).ok());
            let place = if at < 2 {
                &mut lag.waiting
            } else {
                &mut lag.pending
            };
            *place += count.unwrap_or(0);
        }
        Ok(lag)
    }
}
