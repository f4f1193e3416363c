//! What goes in and out of [`Control`](super::Control).

use std::sync::Arc;
use std::time::Duration;

use super::super::metadata::Kept;
use crate::delivery::Token;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::broker::kafka) struct Place {
    pub(in crate::broker::kafka) topic: Arc<str>,
    pub(in crate::broker::kafka) partition: i32,
}

/// An offset to commit, and the text beside it. It is the next one to be read, so it goes to the client as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker::kafka) struct Position {
    pub(in crate::broker::kafka) place: Place,
    pub(in crate::broker::kafka) offset: i64,
    pub(in crate::broker::kafka) metadata: String,
}

/// Messages and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker::kafka) struct Amount {
    pub(in crate::broker::kafka) messages: usize,
    pub(in crate::broker::kafka) bytes: usize,
}

/// How much may be here. Either may be exceeded by what one poll brings.
#[derive(Debug, Clone, Copy)]
pub(in crate::broker::kafka) struct Bounds {
    /// Received and not handed out, of all partitions.
    pub(in crate::broker::kafka) buffer: Amount,
    /// At and behind the watermark, per partition.
    pub(in crate::broker::kafka) window: Amount,
}

/// What the client has to be told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker::kafka) enum Action {
    Pause(Vec<Place>),
    Resume(Vec<Place>),
    /// Commit this and wait, before the message there is handed out; answer with [`Control::began`](super::Control::began).
    Begin(Position),
    /// Commit these by and by.
    Store(Vec<Position>),
    /// Commit these now, without waiting; answer with [`Control::answered`](super::Control::answered). No other is sent before.
    Send(Vec<Position>),
    /// Commit these now; answer with [`Control::not_committed`](super::Control::not_committed) where it fails.
    Commit(Vec<Position>),
    /// Commit these and wait; answer with [`Control::flushed`](super::Control::flushed).
    Flush(Vec<Position>, Flushed),
}

/// How many settlements a flush covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::broker::kafka) struct Flushed(pub(super) u64);

/// What the thread does after the actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker::kafka) enum Next {
    /// Ask the client.
    Poll,
    /// Do not, for so long, unless something is taken out before.
    Wait(Duration),
}

/// A message handed out.
#[derive(Debug)]
pub(in crate::broker::kafka) struct Handed<M> {
    pub(in crate::broker::kafka) token: Token,
    pub(in crate::broker::kafka) message: M,
    /// What an earlier delivery left.
    pub(in crate::broker::kafka) kept: Kept,
    /// How often it was handed out alone to owners that did not leave in order, this time included.
    pub(in crate::broker::kafka) deliveries: u32,
}

/// The settlement came too late: another member has the partition, or it began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker::kafka) struct Gone;
