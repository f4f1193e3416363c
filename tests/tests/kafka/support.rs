//! A subscription in a test's hands, and what tests ask of it. Everything waits with a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use wharf::broker::kafka::KafkaBroker;
use wharf::commit::{Destination, Publication, Settlement};
use wharf::config::kafka::Kafka;
use wharf::delivery::{Delivery, Entry, Inbox, Parcel};
use wharf::message::{Message, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{
    Broker, Health, Lag, PayloadFrom, PublishError, Settle, SettleError, Settler, Source,
    SubscriptionSpec,
};
use wharf_tests::source;
pub use wharf_tests::source::room;

/// Longest a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that is waited for.
pub const LOOK: Duration = Duration::from_millis(20);

/// What a subscription of a test's own is called; its topic need not exist.
pub fn spec_of(name: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        name: "orders-in".into(),
        plugin: format!("biller-{name}").into(),
        kind: PlaceKind::Topic,
        address: name.into(),
        group: group_of(name).into(),
        from_start: true,
        payload: PayloadFrom::Entry,
        ordered: false,
        filters: Vec::new(),
        prefetch: 256,
    }
}

pub fn group_of(name: &str) -> String {
    format!("group-of-{name}")
}

/// One host's subscription.
pub struct Host {
    pub broker: KafkaBroker,
    pub source: Box<dyn Source>,
    pub settler: Box<dyn Settler>,
    pub inbox: Arc<Inbox>,
    pub spec: SubscriptionSpec,
}

pub async fn host_of(kafka: &Kafka, spec: SubscriptionSpec) -> Host {
    let broker = KafkaBroker::open("bus", kafka).expect("a good configuration");
    let inbox = Inbox::new();
    let open = broker.subscribe(spec.clone(), Arc::clone(&inbox)).await;
    let open = open.expect("subscribed");
    Host {
        broker,
        source: open.source,
        settler: open.settler,
        inbox,
        spec,
    }
}

impl Host {
    /// Fetches until `count` messages are in hand.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        source::take(&mut *self.source, count).await
    }

    /// Waits until it is a member of its group and has been given partitions.
    pub async fn is_member(&self) {
        health(&self.broker, |health| *health == Health::Ready).await;
    }

    /// Waits until what is wrong contains each of these words. Answers all of it.
    pub async fn says(&self, words: &[&str]) -> String {
        let said = |health: &Health| match health {
            Health::Waiting(reason) => words.iter().all(|word| reason.contains(word)),
            Health::Ready => false,
        };
        match health(&self.broker, said).await {
            Health::Waiting(reason) => reason,
            Health::Ready => unreachable!("it said what is wrong"),
        }
    }

    /// Waits until that much is before the subscription.
    pub async fn lag_is(&self, expected: Lag) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lag = self.broker.lag(&self.spec).await.expect("a member");
            if lag == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{lag:?}, not {expected:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What comes within `within`; nothing is an answer too.
    pub async fn take_within(&mut self, within: Duration) -> Vec<Delivery> {
        source::take_within(&mut *self.source, within).await
    }

    /// Drops these, and settles what that makes of them. Answers them.
    pub async fn release(
        &mut self,
        deliveries: Vec<Delivery>,
        charge: u32,
    ) -> (Vec<Parcel>, Vec<Result<(), SettleError>>) {
        let count = deliveries.len();
        drop(deliveries);
        let parcels = self.ended(count);
        let charged = |parcel: &Parcel| Settlement::Release {
            after: None,
            attempts: parcel.message.attempts + charge,
            first_failed_ms: (charge > 0).then_some(1_786_000_000_000),
        };
        let settles: Vec<Settle> = parcels
            .iter()
            .map(|parcel| match charge {
                0 => Settle::dropped(parcel),
                _ => Settle {
                    token: parcel.token,
                    settlement: charged(parcel),
                },
            })
            .collect();
        let results = self.settle(&settles).await;
        (parcels, results)
    }

    /// Gives these back for another attempt, later.
    pub async fn retry(&mut self, deliveries: Vec<Delivery>, attempts: u32, after: Duration) {
        let count = deliveries.len();
        drop(deliveries);
        let settle = |parcel: &Parcel| Settle {
            token: parcel.token,
            settlement: Settlement::Release {
                after: Some(after),
                attempts,
                first_failed_ms: None,
            },
        };
        let settles: Vec<Settle> = self.ended(count).iter().map(settle).collect();
        for result in self.settle(&settles).await {
            result.expect("released");
        }
    }

    /// Settles, in time.
    pub async fn settle(&mut self, batch: &[Settle]) -> Vec<Result<(), SettleError>> {
        let settled = timeout(PATIENCE, self.settler.settle(batch)).await;
        settled.expect("settled in time")
    }

    fn ended(&self, count: usize) -> Vec<Parcel> {
        let mut entries = Vec::new();
        self.inbox.try_take(&mut entries);
        assert_eq!(entries.len(), count);
        let parcel = |entry| match entry {
            Entry::Dropped(parcel) => *parcel,
            Entry::Commit(commit) => *commit.parcel,
        };
        entries.into_iter().map(parcel).collect()
    }

    /// Accepts these. Answers their messages, and what became of each settlement.
    pub async fn try_accept(
        &mut self,
        deliveries: Vec<Delivery>,
    ) -> (Vec<Message>, Vec<Result<(), SettleError>>) {
        let count = deliveries.len();
        drop(deliveries);
        let parcels = self.ended(count);
        let settles: Vec<Settle> = parcels
            .iter()
            .map(|parcel| Settle {
                token: parcel.token,
                settlement: Settlement::Accept,
            })
            .collect();
        let results = self.settle(&settles).await;
        let messages = parcels.into_iter().map(|parcel| parcel.message).collect();
        (messages, results)
    }

    /// Accepts these, all of which are ours. Answers their ids.
    pub async fn accept(&mut self, deliveries: Vec<Delivery>) -> Vec<String> {
        let (messages, results) = self.try_accept(deliveries).await;
        for result in results {
            result.expect("accepted");
        }
        messages.iter().map(|m| m.id.to_string()).collect()
    }

    /// Stops in order.
    pub async fn stop(mut self) {
        self.source.stop().await;
        self.leave().await;
    }

    /// Goes without a word to dispatch, as after a failed drain.
    pub async fn leave(self) {
        drop((self.source, self.settler));
        timeout(PATIENCE, self.broker.close())
            .await
            .expect("closed in time");
    }
}

pub fn publication(topic: &str, message: Outgoing) -> Publication {
    Publication {
        destination: Arc::new(Destination::new("out", "bus", PlaceKind::Topic, topic)),
        message,
    }
}

pub fn numbered(n: usize) -> Outgoing {
    Outgoing {
        id: Some(format!("m{n}").into()),
        key: Some(Bytes::from(format!("k{}", n % 17))),
        payload: Bytes::from(n.to_string()),
        ..Outgoing::default()
    }
}

pub async fn publish(
    broker: &KafkaBroker,
    topic: &str,
    messages: impl IntoIterator<Item = Outgoing>,
) -> Vec<Result<(), PublishError>> {
    let all: Vec<Publication> = messages
        .into_iter()
        .map(|message| publication(topic, message))
        .collect();
    let batch: Vec<&Publication> = all.iter().collect();
    let publisher = broker.publisher();
    let published = timeout(PATIENCE, publisher.publish(&batch)).await;
    published.expect("published in time")
}

/// Waits until the broker is so.
pub async fn health(broker: &KafkaBroker, wanted: impl Fn(&Health) -> bool) -> Health {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = broker.health();
        if wanted(&health) {
            return health;
        }
        assert!(Instant::now() < deadline, "{health:?}");
        tokio::time::sleep(LOOK).await;
    }
}
