//! The traits a part needs from another. Adapters implement them, dispatch is written against them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::commit::{Commit, Destination, Publication, Settlement};
use crate::delivery::{Delivery, Inbox, Parcel, Token};
use crate::place::PlaceKind;

/// Which order a broker can promise to one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// None: several hosts, or redelivery out of turn.
    None,
    /// One host has the whole source, and released messages come back in their place.
    Source,
    /// As `Source`, per partition.
    Partition,
}

/// What a broker can do for one kind of subscription. Checked in as a table in `docs/capabilities.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A released or abandoned message comes again.
    pub redelivers: bool,
    /// Order it can promise.
    pub orders: Ordering,
    /// `Release { after }` is honoured without a place in the host's window.
    pub delays: bool,
    /// It counts deliveries by itself.
    pub counts_deliveries: bool,
    /// Attempts given with a release come back with the message.
    pub keeps_attempts: bool,
    /// It has dead letters of its own.
    pub native_dead_letter: bool,
    /// Outputs to the same broker and the settlement can be one transaction.
    pub atomic: bool,
    /// How long a delivery may stay unsettled; `None` where the adapter renews its lease by itself. What waits in the host is
    /// given back at [half](half_of) of it.
    pub patience: Option<Duration>,
}

/// How long a message may wait in the host before its run begins, and how long a run must not take, where its broker waits
/// so long for its settlement. Both are half of it: a run that begins at the last moment still ends in time.
pub fn half_of(patience: Duration) -> Duration {
    patience / 2
}

/// How often what waits for at most so long is looked at: often enough that none waits much longer than it may.
pub fn look_every(waits: Duration) -> Duration {
    (waits / 4).max(Duration::from_millis(1))
}

/// Where to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// The configured name.
    pub name: Arc<str>,
    /// The plugin that reads it.
    pub plugin: Arc<str>,
    /// What is read.
    pub kind: PlaceKind,
    /// Its name.
    pub address: Arc<str>,
    /// Consumer group.
    pub group: Arc<str>,
    /// Read what was there before the group existed.
    pub from_start: bool,
    /// Which part of a record is the payload, on brokers whose records are fields.
    pub payload: PayloadFrom,
    /// An order is promised: what is released must come back before anything newer.
    pub ordered: bool,
    /// Which subjects of a stream are read, where streams hold several (NATS); wildcards may stand in them. None is all.
    pub filters: Vec<Arc<str>>,
    /// Most messages one fetch may return.
    pub prefetch: usize,
}

/// Which part of a record is the payload, on brokers whose records are fields (Redis streams).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadFrom {
    /// This field; the others become headers.
    Field(Arc<str>),
    /// The whole record as a JSON object.
    Entry,
}

/// How much a fetch may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages, at least 1.
    pub messages: usize,
    /// Bytes as counted by `Message::size`. A source may exceed it by one message, so that a large one gets through.
    pub bytes: usize,
}

/// Why a broker could not do something just now. All of these may be tried again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The broker cannot be reached or is not ready.
    #[error("{0}")]
    Unavailable(String),
    /// The broker refused: credentials, permissions, wrong type of key. Somebody has to change something.
    #[error("{0}")]
    Refused(String),
}

/// Why one publication was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The destination is at fault (outage, credentials, missing topic): hold the output and try again.
    #[error("{0}")]
    Destination(String),
    /// The message is at fault (too large, not representable): it will never be taken.
    #[error("{0}")]
    Message(String),
}

/// Why one settlement was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// Another owner has the message now, or it is gone. Nothing more to do; it may be handled twice.
    #[error("no longer the owner: {0}")]
    Fenced(String),
    /// Not now: try again.
    #[error("{0}")]
    Unavailable(String),
}

/// What became of one commit handed to [`Settler::commit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Outputs confirmed and message settled.
    Done,
    /// The publication of that index was not taken; nothing of this commit happened.
    NotPublished(usize, PublishError),
    /// Nothing of this commit happened.
    NotSettled(SettleError),
}

/// A settlement on its own, its outputs already confirmed elsewhere or not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// Which delivery.
    pub token: Token,
    /// What to tell the broker.
    pub settlement: Settlement,
}

impl From<&Commit> for Settle {
    fn from(commit: &Commit) -> Self {
        Self {
            token: commit.parcel.token,
            settlement: commit.settlement,
        }
    }
}

impl Settle {
    /// What a delivery that was dropped undecided becomes: a release that charges nothing.
    pub fn dropped(parcel: &Parcel) -> Self {
        Self {
            token: parcel.token,
            settlement: Settlement::Release {
                after: parcel.after,
                attempts: parcel.message.attempts,
                first_failed_ms: parcel.message.first_failed_ms,
            },
        }
    }
}

/// Where a subscription's messages come from.
pub trait Source: Send {
    /// Waits for at least one message and returns what is there, at most `room`. Cancel-safe: a message taken from
    /// the broker is either in the result of this or of the next call. Connection losses are waited out inside, with
    /// back-off, and shown through [`Broker::health`]; an error is returned only where waiting cannot help.
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>>;

    /// No more fetches will come: stop leases that only matter to fetching. Default: nothing to do.
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Tells the broker what became of its messages. Used by one committer, one batch at a time.
pub trait Settler: Send {
    /// Whether a publication to `destination` can be carried out in one transaction with a settlement here. Default: none
    /// can.
    fn atomic_with(&self, _destination: &Destination) -> bool {
        false
    }

    /// Carries out whole commits whose publications are all [`atomic_with`](Self::atomic_with) this settler, each of
    /// them completely or not at all. Answers one [`Committed`] per commit, in order. Default: settles, since only commits
    /// without publications come to one with which nothing is atomic.
    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        Box::pin(async move {
            let settles: Vec<Settle> = batch.iter().map(|commit| Settle::from(*commit)).collect();
            let results = self.settle(&settles).await;
            let results = results.into_iter().map(|result| match result {
                Ok(()) => Committed::Done,
                Err(error) => Committed::NotSettled(error),
            });
            results.collect()
        })
    }

    /// Settles messages whose outputs are already confirmed. Answers in order.
    fn settle<'a>(&'a mut self, batch: &'a [Settle])
    -> BoxFuture<'a, Vec<Result<(), SettleError>>>;
}

/// Publishes to a broker.
pub trait Publisher: Send + Sync {
    /// Publishes in order and waits until each is confirmed or refused. Answers one result per publication, in order.
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>>;
}

/// Whether a broker can be used just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Connected.
    Ready,
    /// Not connected, and why. The adapter is trying.
    Waiting(String),
}

/// How much a subscription still has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Messages not yet delivered.
    pub waiting: u64,
    /// Delivered and not settled, delayed ones included.
    pub pending: u64,
}

/// Both halves of an open subscription.
pub struct Subscribed {
    /// Reads.
    pub source: Box<dyn Source>,
    /// Settles.
    pub settler: Box<dyn Settler>,
}

/// A named connection.
pub trait Broker: Send + Sync {
    /// The name in the configuration.
    fn name(&self) -> &str;

    /// `messaging.system` of the OpenTelemetry conventions.
    fn system(&self) -> &'static str;

    /// What this broker can do for subscriptions to places of this kind.
    fn capabilities(&self, kind: PlaceKind) -> Capabilities;

    /// Opens a subscription; creates group and topic where the broker lets it. Does not wait for a broker that is
    /// absent: the source does. Deliveries end in `inbox`.
    fn subscribe<'a>(
        &'a self,
        spec: SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> BoxFuture<'a, Result<Subscribed, BrokerError>>;

    /// Publishes to this broker.
    fn publisher(&self) -> Arc<dyn Publisher>;

    /// Sees to it from now on that a place of dead letters is there. Default: whoever publishes first makes it, or somebody
    /// has.
    fn keep_dead_letters(&self, _place: &Destination) {}

    /// Whether it can be used just now.
    fn health(&self) -> Health;

    /// How much is before a subscription. May ask the broker.
    fn lag<'a>(&'a self, spec: &'a SubscriptionSpec) -> BoxFuture<'a, Result<Lag, BrokerError>>;

    /// Messages of this connection that nobody will handle any more, since it was opened: dropped because they came faster
    /// than they were handled, given back where nothing can be kept, or deleted at the broker while they were in hand.
    fn lost(&self) -> u64 {
        0
    }

    /// Called once all sources and settlers are gone: give up leases, flush, close.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The time of day, derived from tokio's clock so that tests can pause it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: tokio::time::Instant,
    epoch_ms: u64,
}

impl Clock {
    /// Anchors tokio's clock to the system's time of day.
    pub fn system() -> Self {
        let epoch_ms = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as u64);
        Self::starting_at(epoch_ms)
    }

    /// A clock that shows `epoch_ms` now.
    pub fn starting_at(epoch_ms: u64) -> Self {
        Self {
            origin: tokio::time::Instant::now(),
            epoch_ms,
        }
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> u64 {
        self.ms_at(tokio::time::Instant::now())
    }

    /// Milliseconds since 1970-01-01 UTC at `now`.
    pub fn ms_at(&self, now: tokio::time::Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        self.epoch_ms + since.as_millis() as u64
    }
}
