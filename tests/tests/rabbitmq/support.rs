//! A subscription in a test's hands, and what tests ask of it. Everything polls with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::{Instant, timeout};
use wharf::broker::rabbitmq::RabbitBroker;
use wharf::commit::{Commit, Destination, Publication, Settlement};
use wharf::config::rabbitmq::{QueueKind, RabbitMq};
use wharf::delivery::{Delivery, Entry, Inbox};
use wharf::message::Outgoing;
use wharf::place::PlaceKind;
use wharf::ports::{
    Broker, Health, PayloadFrom, Room, Settle, SettleError, Settler, Source, SubscriptionSpec,
};
use wharf_tests::rabbit_server::{Depth, RabbitServer};

/// Longest a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Both kinds of queues.
pub const KINDS: [QueueKind; 2] = [QueueKind::Classic, QueueKind::Quorum];

/// A name for a queue that nobody else on the server has.
pub fn name_of(kind: QueueKind) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", kind.as_str())
}

/// A queue of a test's own on a server that others use too.
pub async fn queue_of(server: &RabbitServer, kind: QueueKind) -> String {
    let queue = name_of(kind);
    server.declare(&queue, kind.as_str(), &[]).await;
    queue
}

/// A subscription `in` of the plugin `billing` to this queue.
pub fn spec(queue: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        name: queue.into(),
        plugin: "billing".into(),
        kind: PlaceKind::Queue,
        address: queue.into(),
        group: "billing".into(),
        from_start: true,
        payload: PayloadFrom::Field("payload".into()),
        ordered: false,
        filters: Vec::new(),
        prefetch: 100,
    }
}

/// The queue beside it.
pub fn retry_of(queue: &str) -> String {
    format!("retry.{queue}.billing")
}

pub fn config(url: &str, kind: QueueKind) -> RabbitMq {
    RabbitMq {
        queue_kind: kind,
        ..RabbitMq::new(url)
    }
}

/// One host's subscription.
pub struct Host {
    pub broker: Arc<RabbitBroker>,
    pub source: Box<dyn Source>,
    pub settler: Box<dyn Settler>,
    pub inbox: Arc<Inbox>,
}

pub async fn host(url: &str, queue: &str, kind: QueueKind) -> Host {
    host_with(config(url, kind), spec(queue)).await
}

pub async fn host_with(config: RabbitMq, spec: SubscriptionSpec) -> Host {
    let broker = Arc::new(RabbitBroker::open("bus", &config).expect("a good configuration"));
    let inbox = Inbox::new();
    let open = broker
        .subscribe(spec, Arc::clone(&inbox))
        .await
        .expect("subscribed");
    Host {
        broker,
        source: open.source,
        settler: open.settler,
        inbox,
    }
}

pub fn room(messages: usize) -> Room {
    Room {
        messages,
        bytes: 64 << 20,
    }
}

impl Host {
    /// Fetches until `count` messages are in hand.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while taken.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, self.source.fetch(room(count - taken.len()))).await {
                Ok(got) => taken.extend(got.expect("fetched")),
                Err(_) => panic!(
                    "{} of {count} messages came; {:?}",
                    taken.len(),
                    self.broker.health()
                ),
            }
        }
        taken
    }

    /// Settles deliveries, all alike.
    pub async fn settle(
        &mut self,
        deliveries: Vec<Delivery>,
        settlement: Settlement,
    ) -> Vec<Result<(), SettleError>> {
        for delivery in deliveries {
            delivery.commit(|parcel| Commit {
                publications: Vec::new(),
                parcel,
                settlement,
                cause: None,
                version: "".into(),
                lane: None,
            });
        }
        self.settle_inbox().await
    }

    /// Settles what has ended, whichever way.
    pub async fn settle_inbox(&mut self) -> Vec<Result<(), SettleError>> {
        let batch = self.ended();
        self.settler.settle(&batch).await
    }

    /// What has ended and is to be settled.
    pub fn ended(&mut self) -> Vec<Settle> {
        let mut entries = Vec::new();
        self.inbox.try_take(&mut entries);
        self.inbox.ended(entries.len());
        let settle = |entry: &Entry| match entry {
            Entry::Commit(commit) => Settle::from(&**commit),
            Entry::Dropped(parcel) => Settle::dropped(parcel),
        };
        entries.iter().map(settle).collect()
    }

    /// Settles what could not be settled before, as a committer does: until it is, or is not ours any more.
    pub async fn insist(&mut self, mut batch: Vec<Settle>) {
        let deadline = Instant::now() + PATIENCE;
        while !batch.is_empty() {
            let results = self.settler.settle(&batch).await;
            let mut results = results.into_iter();
            batch.retain(|_| matches!(results.next(), Some(Err(SettleError::Unavailable(_)))));
            assert!(Instant::now() < deadline, "{} are not settled", batch.len());
        }
    }

    pub async fn accept(&mut self, deliveries: Vec<Delivery>) {
        for result in self.settle(deliveries, Settlement::Accept).await {
            result.expect("accepted");
        }
    }

    /// As a host that stops in order.
    pub async fn stop(mut self) {
        self.source.stop().await;
        for result in self.settle_inbox().await {
            result.expect("released");
        }
        drop((self.source, self.settler));
        self.broker.close().await;
    }

    pub async fn ready(&self) {
        until("the broker is ready", || {
            self.broker.health() == Health::Ready
        })
        .await;
    }
}

pub fn release(after: Option<Duration>, attempts: u32) -> Settlement {
    Settlement::Release {
        after,
        attempts,
        first_failed_ms: Some(1_786_000_000_000),
    }
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Publishes to a queue as any client does, and has it confirmed.
pub async fn publish(channel: &Channel, queue: &str, payload: &str, properties: BasicProperties) {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let confirm = channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            payload.as_bytes(),
            properties,
        )
        .await
        .expect("published");
    let confirmed = confirm.await.expect("confirmed");
    assert_eq!(confirmed, Confirmation::Ack(None));
}

/// Properties of a persistent message.
pub fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

pub fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// Nothing is left at the broker: neither in the queue nor in the one beside it.
pub async fn nothing_left(server: &RabbitServer, queue: &str) {
    for queue in [queue.to_owned(), retry_of(queue)] {
        let empty = |d: Depth| d.ready == 0 && d.unacked == 0;
        server.until(&queue, empty).await;
    }
}

pub fn payloads(deliveries: &[Delivery]) -> Vec<String> {
    let text = |d: &Delivery| String::from_utf8_lossy(&d.message().payload).into_owned();
    let mut all: Vec<String> = deliveries.iter().map(text).collect();
    all.sort();
    all
}

/// An output to an address of the adapter: `queue`, or `exchange/routing key`.
pub fn output(address: &str, id: &str) -> Publication {
    let (kind, address, routing_key) = match address.split_once('/') {
        Some((exchange, key)) => (PlaceKind::Exchange, exchange, Some(key.into())),
        None => (PlaceKind::Queue, address, None),
    };
    Publication {
        destination: Arc::new(Destination {
            routing_key,
            ..Destination::new("out", "bus", kind, address)
        }),
        message: Outgoing {
            destination: "out".into(),
            id: Some(id.to_owned().into()),
            payload: id.to_owned().into(),
            ..Outgoing::default()
        },
    }
}
