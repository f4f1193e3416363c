//! A subscription in a test's hands, and what tests ask of it. Everything polls with a deadline.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tokio::time::{Instant, timeout};
use wharf::broker::redis::{Options, RedisBroker};
use wharf::commit::{Commit, Destination, Publication, Settlement};
use wharf::delivery::{Delivery, Entry, Inbox, Parcel};
use wharf::message::Outgoing;
use wharf::place::PlaceKind;
use wharf::ports::{
    Broker, Committed, PayloadFrom, Settle, SettleError, Settler, Source, SubscriptionSpec,
};
use wharf_tests::redis_server::RedisServer;
use wharf_tests::source;
pub use wharf_tests::source::room;

/// Longest a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const STREAM: &str = "orders";
pub const GROUP: &str = "billing";
/// Short, so that takeovers are seen soon.
pub const LEASE: Duration = Duration::from_millis(500);

pub fn spec() -> SubscriptionSpec {
    SubscriptionSpec {
        name: "orders-in".into(),
        plugin: "biller".into(),
        kind: PlaceKind::Stream,
        address: STREAM.into(),
        group: GROUP.into(),
        from_start: true,
        payload: PayloadFrom::Field("payload".into()),
        ordered: false,
        filters: Vec::new(),
        prefetch: 100,
    }
}

pub fn options(url: &str) -> Options {
    Options {
        lease: LEASE,
        ..Options::new("events", url)
    }
}

/// One host's subscription.
pub struct Host {
    pub broker: Arc<RedisBroker>,
    pub source: Box<dyn Source>,
    pub settler: Box<dyn Settler>,
    pub inbox: Arc<Inbox>,
}

pub async fn host(url: &str) -> Host {
    host_with(options(url), spec()).await
}

pub async fn host_with(options: Options, spec: SubscriptionSpec) -> Host {
    let broker = Arc::new(RedisBroker::open(options).expect("a good url"));
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

impl Host {
    /// Fetches until `count` messages are in hand.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        source::take(&mut *self.source, count).await
    }

    /// What comes within `within`; nothing is an answer too.
    pub async fn take_within(&mut self, within: Duration) -> Vec<Delivery> {
        source::take_within(&mut *self.source, within).await
    }

    /// Ends deliveries with these outputs each, and answers what became of them, in order.
    pub async fn commit(
        &mut self,
        deliveries: Vec<Delivery>,
        outputs: impl Fn(&Parcel) -> Vec<Publication>,
    ) -> Vec<Committed> {
        let commits = self.commits(deliveries, outputs);
        let refs: Vec<&Commit> = commits.iter().map(|c| &**c).collect();
        self.settler.commit(&refs).await
    }

    /// As a committer does: commits again until the server has done it. One step each: all of them, or none.
    pub async fn commit_at_last(
        &mut self,
        deliveries: Vec<Delivery>,
        outputs: impl Fn(&Parcel) -> Vec<Publication>,
    ) {
        let commits = self.commits(deliveries, outputs);
        let refs: Vec<&Commit> = commits.iter().map(|c| &**c).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = self.settler.commit(&refs).await;
            if done.iter().all(|one| *one == Committed::Done) {
                return;
            }
            assert!(Instant::now() < deadline, "never done: {:?}", done[0]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    // The inbox hands commits over boxed; unpacking them here would copy for nothing.
    #[allow(clippy::vec_box)]
    fn commits(
        &self,
        deliveries: Vec<Delivery>,
        outputs: impl Fn(&Parcel) -> Vec<Publication>,
    ) -> Vec<Box<Commit>> {
        for delivery in deliveries {
            delivery.commit(|parcel| Commit {
                publications: outputs(&parcel),
                parcel,
                settlement: Settlement::Accept,
                cause: None,
                version: "".into(),
                lane: None,
            });
        }
        let mut entries = Vec::new();
        self.inbox.try_take(&mut entries);
        entries
            .into_iter()
            .map(|entry| match entry {
                Entry::Commit(commit) => commit,
                Entry::Dropped(_) => panic!("nothing was dropped"),
            })
            .collect()
    }

    pub async fn accept(&mut self, deliveries: Vec<Delivery>) {
        for result in self.commit(deliveries, |_| Vec::new()).await {
            assert_eq!(result, Committed::Done);
        }
    }

    pub async fn settle(
        &mut self,
        deliveries: Vec<Delivery>,
        settlement: Settlement,
    ) -> Vec<Result<(), SettleError>> {
        drop(deliveries);
        let mut entries = Vec::new();
        self.inbox.try_take(&mut entries);
        let batch: Vec<Settle> = entries
            .iter()
            .map(|entry| match entry {
                Entry::Dropped(parcel) => Settle {
                    token: parcel.token,
                    settlement,
                },
                Entry::Commit(_) => panic!("nothing was committed"),
            })
            .collect();
        self.settler.settle(&batch).await
    }

    /// As a committer does: asks again until the server answers.
    pub async fn accept_at_last(&mut self, deliveries: Vec<Delivery>) {
        drop(deliveries);
        let mut entries = Vec::new();
        self.inbox.try_take(&mut entries);
        let tokens = entries.iter().map(|entry| match entry {
            Entry::Dropped(parcel) => parcel.token,
            Entry::Commit(_) => panic!("nothing was committed"),
        });
        let settlement = Settlement::Accept;
        let batch: Vec<Settle> = tokens.map(|token| Settle { token, settlement }).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answers = self.settler.settle(&batch).await;
            let away = |answer: &Result<(), SettleError>| {
                matches!(answer, Err(SettleError::Unavailable(_)))
            };
            if !answers.iter().any(away) {
                assert_eq!(answers, vec![Ok(()); batch.len()]);
                return;
            }
            assert!(Instant::now() < deadline, "never answered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn release(
        &mut self,
        deliveries: Vec<Delivery>,
        after: Option<Duration>,
        attempts: u32,
    ) {
        let settlement = Settlement::Release {
            after,
            attempts,
            first_failed_ms: Some(FIRST_FAILED),
        };
        for result in self.settle(deliveries, settlement).await {
            assert_eq!(result, Ok(()));
        }
    }

    /// Ends in order, as a host does that was told to stop.
    pub async fn close(mut self) {
        self.source.stop().await;
        drop(self.source);
        drop(self.settler);
        self.broker.close().await;
    }
}

/// A host with a runtime of its own, so that dropping it stops everything in it at once, as a crash does: nothing is
/// released and nobody says goodbye.
pub struct Doomed {
    runtime: Option<tokio::runtime::Runtime>,
    pub held: BTreeSet<String>,
}

impl Doomed {
    /// A host that has taken `count` messages in hand.
    pub async fn holding(url: &str, count: usize) -> Self {
        Self::holding_of(url, spec(), count).await
    }

    /// The same, of another place.
    pub async fn holding_of(url: &str, spec: SubscriptionSpec, count: usize) -> Self {
        let url = url.to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (told, hear) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            let mut host = host_with(options(&url), spec).await;
            let taken = host.take(count).await;
            drop(told.send(payloads(&taken)));
            std::future::pending::<()>().await;
            drop(taken);
        });
        let held = timeout(PATIENCE, hear)
            .await
            .expect("in time")
            .expect("taken");
        Self {
            runtime: Some(runtime),
            held,
        }
    }

    pub fn crash(mut self) -> BTreeSet<String> {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        std::mem::take(&mut self.held)
    }
}

pub fn payloads(deliveries: &[Delivery]) -> BTreeSet<String> {
    deliveries
        .iter()
        .map(|d| String::from_utf8_lossy(&d.message().payload).into_owned())
        .collect()
}

/// Writes `from..to` as plain entries, as any client would.
pub async fn add(server: &RedisServer, stream: &str, numbers: std::ops::Range<u32>) {
    let mut pipe = redis::pipe();
    for n in numbers {
        pipe.cmd("XADD").arg(stream).arg("*").arg("payload").arg(n);
    }
    let _ids: Vec<String> = pipe
        .query_async(&mut server.client().await)
        .await
        .expect("added");
}

pub fn numbers(range: std::ops::Range<u32>) -> BTreeSet<String> {
    range.map(|n| n.to_string()).collect()
}

/// How many entries are pending for the group.
pub async fn pending(server: &RedisServer, stream: &str) -> i64 {
    match server.command(&format!("XPENDING {stream} {GROUP}")).await {
        Value::Array(summary) => match summary.first() {
            Some(Value::Int(count)) => *count,
            other => panic!("not a count: {other:?}"),
        },
        other => panic!("not a summary: {other:?}"),
    }
}

/// What every release says of the first failure.
pub const FIRST_FAILED: u64 = 1_700_000_000_000;

/// Nothing may be left: no pending entry, and no record of attempts.
pub async fn nothing_left(server: &RedisServer) {
    assert_eq!(pending(server, STREAM).await, 0, "pending entries");
    let records = server
        .command(&format!(
            "HLEN wharf:attempts:{{{STREAM}}}:{STREAM}:{GROUP}"
        ))
        .await;
    assert_eq!(records, Value::Int(0), "records of attempts");
}

/// Asks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !ask().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn destination(address: &str, kind: PlaceKind) -> Arc<Destination> {
    Arc::new(Destination::new("out", "events", kind, address))
}

pub fn to(address: &str, payload: impl Into<Bytes>) -> Publication {
    Publication {
        destination: destination(address, PlaceKind::Stream),
        message: Outgoing {
            destination: "out".into(),
            id: Some("id-1".into()),
            payload: payload.into(),
            ..Outgoing::default()
        },
    }
}
