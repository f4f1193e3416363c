//! One message plus the right to settle it, exactly once.
//!
//! A [`Delivery`] is made by a source with its place in the subscription's [`Inbox`] already reserved. It ends in
//! one of two ways: [`Delivery::commit`] consumes it, or it is dropped and enters the inbox as a release. Either way
//! it arrives there once, without an await, and nothing else can end it: settling twice does not compile and
//! dropping never acknowledges (DESIGN §2, guarantee 2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::commit::Commit;
use crate::message::Message;

/// A source's own name for one delivery. Unique within a subscription while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// The message and its token, boxed once when fetched and moved by pointer from then on.
#[derive(Debug)]
pub struct Parcel {
    /// The source's name for this delivery.
    pub token: Token,
    /// What was read.
    pub message: Message,
    /// Whether it takes a place in the windows: set when dispatch takes it in, so that one dropped before that gives
    /// none back.
    pub admitted: bool,
}

/// What arrives at the committer.
#[derive(Debug)]
pub enum Entry {
    /// Decided: publish, then settle.
    Commit(Box<Commit>),
    /// Dropped undecided: release.
    Dropped(Box<Parcel>),
}

/// Where deliveries end. One per subscription, read by its committer alone.
///
/// `queue` holds what ended since the committer last looked. It never grows beyond the deliveries in hand, because
/// each of them enters it once and their number is bounded by admission; so pushing needs no await and no error.
/// `changed` wakes the committer; a stored permit makes a push between its look and its wait count.
/// `outstanding` counts deliveries from the moment they are made until [`Inbox::ended`], wherever they are: the only
/// number by which a stopping host knows that it is done.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: Mutex<Vec<Entry>>,
    changed: Notify,
    outstanding: AtomicUsize,
}

impl Inbox {
    /// An empty inbox.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn push(&self, entry: Entry) {
        let first = {
            let mut queue = self.queue.lock();
            queue.push(entry);
            queue.len() == 1
        };
        // Only the push that makes the queue non-empty has to wake: the committer takes all that is there.
        if first {
            self.changed.notify_one();
        }
    }

    /// Waits until something ended, then moves it all to the end of `into`. Cancel-safe. An empty `into` is exchanged for
    /// what is there, so a reader that reuses it allocates nothing while others wait for the lock.
    pub async fn take(&self, into: &mut Vec<Entry>) {
        loop {
            if self.try_take(into) {
                return;
            }
            self.changed.notified().await;
        }
    }

    /// Moves what is there to the end of `into`; false when there was nothing.
    pub fn try_take(&self, into: &mut Vec<Entry>) -> bool {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            return false;
        }
        if into.is_empty() {
            std::mem::swap(into, &mut queue);
        } else {
            into.append(&mut queue);
        }
        true
    }

    /// Deliveries made and not yet settled.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Acquire)
    }

    /// The broker knows what became of `n` of them.
    pub fn ended(&self, n: usize) {
        self.outstanding.fetch_sub(n, Ordering::AcqRel);
    }
}

/// One message and the right to settle it.
#[derive(Debug)]
#[must_use = "a dropped delivery is released and will be delivered again"]
pub struct Delivery {
    /// `None` only while being consumed.
    parcel: Option<Box<Parcel>>,
    inbox: Arc<Inbox>,
}

impl Delivery {
    /// Made by a source for each message it hands over. The inbox is the one it was subscribed with.
    pub fn new(token: Token, message: Message, inbox: &Arc<Inbox>) -> Self {
        inbox.outstanding.fetch_add(1, Ordering::AcqRel);
        Self {
            parcel: Some(Box::new(Parcel {
                token,
                message,
                admitted: false,
            })),
            inbox: Arc::clone(inbox),
        }
    }

    /// What was read.
    pub fn message(&self) -> &Message {
        // The parcel is taken only by `commit` and `drop`, which own `self`.
        match &self.parcel {
            Some(parcel) => &parcel.message,
            None => unreachable!("a delivery in use has its parcel"),
        }
    }

    /// Notes that it takes a place in the windows from now on.
    pub fn admit(&mut self) {
        if let Some(parcel) = &mut self.parcel {
            parcel.admitted = true;
        }
    }

    /// Notes charged attempts on a message that stays in the host, so that a release takes them along.
    pub fn charge(&mut self, attempts: u32, first_failed_ms: Option<u64>) {
        if let Some(parcel) = &mut self.parcel {
            parcel.message.attempts = attempts;
            parcel.message.first_failed_ms = first_failed_ms;
        }
    }

    /// Ends this delivery with what `decide` makes of its parcel.
    pub fn commit(mut self, decide: impl FnOnce(Box<Parcel>) -> Commit) {
        if let Some(parcel) = self.parcel.take() {
            self.inbox.push(Entry::Commit(Box::new(decide(parcel))));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(parcel) = self.parcel.take() {
            self.inbox.push(Entry::Dropped(parcel));
        }
    }
}
