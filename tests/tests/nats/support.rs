//! A subscription in a test's hands, and what tests ask of it. Everything polls with a deadline.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use tokio::time::{Instant, timeout};
use wharf::broker::nats::NatsBroker;
use wharf::commit::{Commit, Destination, Publication, Settlement};
use wharf::config::nats::Nats;
use wharf::delivery::{Delivery, Entry, Inbox};
use wharf::message::Outgoing;
use wharf::place::PlaceKind;
use wharf::ports::{
    Broker, Health, PayloadFrom, PublishError, Room, Settle, SettleError, Settler, Source,
    SubscriptionSpec,
};
use wharf_tests::nats_server::{Depth, NatsServer};

/// Longest a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The stream of most tests, its subjects, and the subscription `in` of the plugin `billing` to it.
pub const STREAM: &str = "ORDERS";
pub const SUBJECTS: [&str; 1] = ["orders.>"];
/// What waits for it.
pub const RETRY: &str = "retry~in~billing";

pub fn spec() -> SubscriptionSpec {
    SubscriptionSpec {
        name: "in".into(),
        plugin: "billing".into(),
        kind: PlaceKind::Stream,
        address: STREAM.into(),
        group: "billing".into(),
        from_start: true,
        payload: PayloadFrom::Field("payload".into()),
        ordered: false,
        filters: Vec::new(),
        prefetch: 100,
    }
}

pub fn subject(subject: &str, group: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        kind: PlaceKind::Subject,
        address: subject.into(),
        group: group.into(),
        ..spec()
    }
}

/// A server with the stream.
pub async fn server() -> NatsServer {
    let server = NatsServer::start().await;
    server.stream(STREAM, &SUBJECTS).await;
    server
}

pub fn config(url: &str) -> Nats {
    Nats::new(url)
}

/// With which a dead host's messages are another's within 2 s.
pub fn impatient(url: &str) -> Nats {
    Nats {
        ack_wait: Duration::from_secs(2),
        ..config(url)
    }
}

/// One host's subscription.
pub struct Host {
    pub broker: Arc<NatsBroker>,
    pub source: Box<dyn Source>,
    pub settler: Box<dyn Settler>,
    pub inbox: Arc<Inbox>,
}

pub async fn host(server: &NatsServer) -> Host {
    host_with(config(&server.url()), spec()).await
}

pub async fn host_with(config: Nats, spec: SubscriptionSpec) -> Host {
    let broker = Arc::new(NatsBroker::open("bus", &config).expect("a good configuration"));
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

    /// What comes within `wait`, at most `room` messages of it.
    pub async fn within(&mut self, wait: Duration, most: usize) -> Vec<Delivery> {
        match timeout(wait, self.source.fetch(room(most))).await {
            Ok(got) => got.expect("fetched"),
            Err(_) => Vec::new(),
        }
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

    /// Accepts them, as the committer does: what could not be done now is asked for again.
    pub async fn accept(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            delivery.commit(|parcel| Commit {
                publications: Vec::new(),
                parcel,
                settlement: Settlement::Accept,
                cause: None,
                version: "".into(),
                lane: None,
            });
        }
        let mut batch = self.ended();
        let deadline = Instant::now() + PATIENCE;
        while !batch.is_empty() {
            let results = self.settler.settle(&batch).await;
            let mut results = results.into_iter();
            batch.retain(|_| match results.next() {
                Some(Err(SettleError::Unavailable(why))) => {
                    assert!(Instant::now() < deadline, "not settled: {why}");
                    true
                }
                Some(result) => {
                    result.expect("accepted");
                    false
                }
                None => panic!("an answer is missing"),
            });
            if !batch.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
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

    /// As a host that is killed: nothing more is said to the server.
    pub async fn kill(self, proxy: wharf_tests::proxy::Proxy) {
        proxy.refuse();
        drop(self);
        drop(proxy);
    }

    pub async fn ready(&self) {
        until("the broker is ready", || {
            self.broker.health() == Health::Ready
        })
        .await;
    }

    /// Waits until the broker says why it does not work.
    pub async fn says(&self, words: &str) {
        let says = || match self.broker.health() {
            Health::Waiting(reason) => reason.contains(words),
            Health::Ready => false,
        };
        let deadline = Instant::now() + PATIENCE;
        while !says() {
            let health = self.broker.health();
            assert!(Instant::now() < deadline, "{health:?}, not {words}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn publish(&self, outputs: &[Publication]) -> Vec<Result<(), PublishError>> {
        let batch: Vec<&Publication> = outputs.iter().collect();
        self.broker.publisher().publish(&batch).await
    }
}

pub fn release(after: Option<Duration>, attempts: u32) -> Settlement {
    Settlement::Release {
        after,
        attempts,
        first_failed_ms: Some(1_786_000_000_000),
    }
}

pub fn all_well(results: Vec<Result<(), SettleError>>) {
    for result in results {
        result.expect("settled");
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

/// Nothing is left at the broker: neither in the source nor in what waits beside it.
pub async fn nothing_left(server: &NatsServer) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let source = server.depth(STREAM, "billing").await;
        let own = server.depth(RETRY, "wharf").await;
        let held = server.held(RETRY).await;
        let empty = Some(Depth::default());
        if (source, own, held) == (empty, empty, Some(0)) {
            return;
        }
        assert!(Instant::now() < deadline, "{source:?}, {own:?}, {held:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn payloads(deliveries: &[Delivery]) -> Vec<String> {
    let text = |d: &Delivery| String::from_utf8_lossy(&d.message().payload).into_owned();
    let mut all: Vec<String> = deliveries.iter().map(text).collect();
    all.sort();
    all
}

pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, *value);
    }
    map
}

/// An output to a subject.
pub fn output(subject: &str, id: &str) -> Publication {
    Publication {
        destination: Arc::new(Destination::new("out", "bus", PlaceKind::Subject, subject)),
        message: Outgoing {
            destination: "out".into(),
            id: Some(id.to_owned().into()),
            payload: id.to_owned().into(),
            ..Outgoing::default()
        },
    }
}
