//! The unit that ends a delivery: its outputs or its dead letter, and its settlement, carried out together.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::Parcel;
use crate::message::Outgoing;
use crate::place::PlaceKind;

/// What the broker is told about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done with.
    Accept,
    /// Deliver it again.
    Release {
        /// Not before this long from now. `None`: at once.
        after: Option<Duration>,
        /// Charged attempts so far, to be kept at the broker where it has a place for them.
        attempts: u32,
        /// When the first of them failed, milliseconds since 1970-01-01 UTC, kept with them.
        first_failed_ms: Option<u64>,
    },
}

/// A named place a plugin may publish to, resolved when the configuration was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The configured name.
    pub name: Arc<str>,
    /// The broker's configured name.
    pub broker: Arc<str>,
    /// What it is there.
    pub kind: PlaceKind,
    /// Its name there.
    pub address: Arc<str>,
    /// The routing key, where the place is an exchange.
    pub routing_key: Option<Arc<str>>,
    /// Past the broker's streams, to whoever listens now (NATS).
    pub core: bool,
    /// Trim the destination to about this many entries, where the broker can.
    pub max_len: Option<u64>,
    /// Trim the destination to about what is younger than this, where the broker can.
    pub max_age: Option<Duration>,
    /// Which field carries the payload, on brokers whose records are fields (Redis streams).
    pub payload_field: Option<Arc<str>>,
}

impl Destination {
    /// A place without anything said about how messages are kept there.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        broker: impl Into<Arc<str>>,
        kind: PlaceKind,
        address: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            name: name.into(),
            broker: broker.into(),
            kind,
            address: address.into(),
            routing_key: None,
            core: false,
            max_len: None,
            max_age: None,
            payload_field: None,
        }
    }
}

/// One message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Where to. A topic override has already been folded into [`Outgoing::topic`] and checked.
    pub destination: Arc<Destination>,
    /// What. `id` is always set.
    pub message: Outgoing,
}

impl Publication {
    /// The name of the place this goes to.
    pub fn address(&self) -> &str {
        self.message
            .topic
            .as_deref()
            .unwrap_or(&self.destination.address)
    }
}

/// Why a message becomes a dead letter. The words of `wharf-cause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The guest trapped, on its last attempt.
    Trap,
    /// It ran too long, on its last attempt.
    Deadline,
    /// It wanted too much memory, on its last attempt.
    Memory,
    /// It returned what it may not.
    BadOutput,
    /// It asked to publish where it was not granted.
    Denied,
    /// The handler rejected it.
    Rejected,
    /// The handler asked for a retry once too often.
    Exhausted,
    /// It was past its time when its turn came.
    Expired,
    /// An output of it can never be published.
    Undeliverable,
    /// The contract cannot hold it.
    Unrepresentable,
    /// It was delivered too often without an outcome: it may be killing hosts.
    CrashLoop,
}

impl Cause {
    /// Every cause, for metrics that start at zero.
    pub const ALL: [Self; 11] = [
        Self::Trap,
        Self::Deadline,
        Self::Memory,
        Self::BadOutput,
        Self::Denied,
        Self::Rejected,
        Self::Exhausted,
        Self::Expired,
        Self::Undeliverable,
        Self::Unrepresentable,
        Self::CrashLoop,
    ];

    /// The word used in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::BadOutput => "bad-output",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Undeliverable => "undeliverable",
            Self::Unrepresentable => "unrepresentable",
            Self::CrashLoop => "crash-loop",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What ends one delivery.
#[derive(Debug)]
pub struct Commit {
    /// The delivery's message and token, given up by [`Delivery::commit`](crate::delivery::Delivery::commit).
    pub parcel: Box<Parcel>,
    /// To be confirmed before `settlement` is carried out, in order: outputs, or one dead letter and what a requester is told.
    pub publications: Vec<Publication>,
    /// What the broker is told then.
    pub settlement: Settlement,
    /// Set when `publications` has a dead letter.
    pub cause: Option<Cause>,
    /// Digest of the version that ran, empty where none did.
    pub version: Arc<str>,
    /// The virtual lane this message held, where its order is promised.
    pub lane: Option<u32>,
}
