//! A file in a temporary folder, and short words for what the tests do with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::embedded::Embedded;
use crate::commit::{Commit, Destination, Publication, Settlement};
use crate::config;
use crate::delivery::{Delivery, Entry, Inbox, Parcel};
use crate::message::{Message, Outgoing};
use crate::place::PlaceKind;
use crate::ports::{
    Broker as _, Committed, PayloadFrom, PublishError, Room, Settle, SettleError, Settler, Source,
    Subscribed, SubscriptionSpec,
};

/// Longest wait for what must happen.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// How long is waited for what must not happen.
pub(super) const NEVER: Duration = Duration::from_millis(120);

/// A folder with room for a database.
pub(super) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    pub(super) fn options(&self) -> config::Embedded {
        config::Embedded::new(self.path())
    }

    pub(super) fn owner(&self) -> Embedded {
        Embedded::open_owner("events", &self.options()).unwrap()
    }

    /// Opens once the former owner, dropped without closing, has let go of the file.
    pub(super) async fn owner_again(&self) -> Embedded {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            match Embedded::open_owner("events", &self.options()) {
                Ok(broker) => return broker,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn client(&self) -> Embedded {
        Embedded::open_client("events", &self.options()).unwrap()
    }
}

pub(super) fn spec(topic: &str, group: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        name: "sub".into(),
        plugin: "plug".into(),
        kind: PlaceKind::Topic,
        address: topic.into(),
        group: group.into(),
        from_start: true,
        payload: PayloadFrom::Entry,
        ordered: false,
        filters: Vec::new(),
        prefetch: 100,
    }
}

pub(super) fn to(topic: &str) -> Arc<Destination> {
    Arc::new(Destination::new("out", "events", PlaceKind::Topic, topic))
}

pub(super) fn text(payload: &str) -> Outgoing {
    Outgoing {
        id: Some(payload.into()),
        payload: payload.to_owned().into(),
        ..Outgoing::default()
    }
}

pub(super) fn publication(topic: &str, message: Outgoing) -> Publication {
    Publication {
        destination: to(topic),
        message,
    }
}

pub(super) async fn try_publish(
    broker: &Embedded,
    topic: &str,
    messages: Vec<Outgoing>,
) -> Vec<Result<(), PublishError>> {
    let publications: Vec<_> = messages
        .into_iter()
        .map(|m| publication(topic, m))
        .collect();
    let batch: Vec<_> = publications.iter().collect();
    broker.publisher().publish(&batch).await
}

pub(super) async fn publish(broker: &Embedded, topic: &str, messages: Vec<Outgoing>) {
    for result in try_publish(broker, topic, messages).await {
        result.unwrap();
    }
}

pub(super) async fn publish_texts(broker: &Embedded, topic: &str, payloads: &[&str]) {
    publish(broker, topic, payloads.iter().map(|p| text(p)).collect()).await;
}

pub(super) fn room(messages: usize) -> Room {
    Room {
        messages,
        bytes: 64 << 20,
    }
}

/// An open subscription. Deliveries are taken apart, so that nothing is released by being dropped.
pub(super) struct Reading {
    pub(super) source: Box<dyn Source>,
    pub(super) settler: Box<dyn Settler>,
    inbox: Arc<Inbox>,
}

impl Reading {
    pub(super) async fn open(broker: &Embedded, spec: SubscriptionSpec) -> Self {
        let inbox = Inbox::new();
        let Subscribed { source, settler } =
            broker.subscribe(spec, Arc::clone(&inbox)).await.unwrap();
        Self {
            source,
            settler,
            inbox,
        }
    }

    /// One fetch that must bring something.
    pub(super) async fn fetch(&mut self, messages: usize) -> Vec<Parcel> {
        let deliveries = tokio::time::timeout(SOON, self.source.fetch(room(messages)))
            .await
            .expect("something to fetch")
            .unwrap();
        self.unwrap(deliveries)
    }

    pub(super) fn unwrap(&self, deliveries: Vec<Delivery>) -> Vec<Parcel> {
        drop(deliveries);
        let mut entries = Vec::new();
        self.inbox.try_take(&mut entries);
        entries
            .into_iter()
            .map(|entry| match entry {
                Entry::Dropped(parcel) => *parcel,
                Entry::Commit(_) => unreachable!("nothing was committed"),
            })
            .collect()
    }

    /// Fetches until so many have come.
    pub(super) async fn fetch_all(&mut self, messages: usize) -> Vec<Parcel> {
        let mut all = Vec::new();
        while all.len() < messages {
            all.extend(self.fetch(messages - all.len()).await);
        }
        all
    }

    /// Nothing comes for a while.
    pub(super) async fn nothing(&mut self) {
        if let Ok(found) = tokio::time::timeout(NEVER, self.source.fetch(room(10))).await {
            panic!(
                "nothing was expected, got {:?}",
                self.unwrap(found.unwrap())
            );
        }
    }

    pub(super) async fn settle(
        &mut self,
        parcel: &Parcel,
        settlement: Settlement,
    ) -> Result<(), SettleError> {
        let batch = [Settle {
            token: parcel.token,
            settlement,
        }];
        self.settler.settle(&batch).await.remove(0)
    }

    pub(super) async fn accept(&mut self, parcels: &[Parcel]) {
        let batch: Vec<_> = parcels
            .iter()
            .map(|parcel| Settle {
                token: parcel.token,
                settlement: Settlement::Accept,
            })
            .collect();
        for result in self.settler.settle(&batch).await {
            result.unwrap();
        }
    }

    pub(super) async fn release(
        &mut self,
        parcel: &Parcel,
        after: Option<Duration>,
        attempts: u32,
    ) {
        let release = Settlement::Release {
            after,
            attempts,
            first_failed_ms: None,
        };
        self.settle(parcel, release).await.unwrap();
    }

    pub(super) async fn commit(
        &mut self,
        parcel: Parcel,
        publications: Vec<Publication>,
        settlement: Settlement,
    ) -> Committed {
        let commit = commit(parcel, publications, settlement);
        self.settler.commit(&[&commit]).await.remove(0)
    }
}

pub(super) fn commit(
    parcel: Parcel,
    publications: Vec<Publication>,
    settlement: Settlement,
) -> Commit {
    Commit {
        parcel: Box::new(parcel),
        publications,
        settlement,
        cause: None,
        version: "".into(),
        lane: None,
    }
}

pub(super) fn payload(message: &Message) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

pub(super) fn payloads(parcels: &[Parcel]) -> Vec<String> {
    parcels.iter().map(|p| payload(&p.message)).collect()
}

/// Polls until it holds.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
