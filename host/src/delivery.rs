//! One message plus the right to settle it, exactly once.
//!
//! A [`Delivery`] is made by a source with its place in the subscription's [`Inbox`] already reserved. It ends in
//! one of two ways: [`Delivery::commit`] consumes it, or it is dropped and enters the inbox as a release. Either way
//! it arrives there once, without an await, and nothing else can end it: settling twice does not compile and
//! dropping never acknowledges (DESIGN §2, guarantee 2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

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
    /// When its broker handed it over, where a broker waits only so long for its settlement.
    pub delivered: Option<Instant>,
    /// It shall not run before: it came back from a broker before its delay was over.
    pub due: Option<Instant>,
    /// Where it is dropped, it shall come again only after so long.
    pub after: Option<Duration>,
}

/// What arrives at the committer.
#[derive(Debug)]
pub enum Entry {
    /// Decided: publish, then settle.
    Commit(Box<Commit>),
    /// Dropped undecided: release.
    Dropped(Box<Parcel>),
}

/// Heaps of an [`Inbox`] that may be read in any order. Threads beyond that share.
const HEAPS: usize = 8;

/// Where deliveries end. One per subscription, read by its committer alone.
///
/// `heaps` hold what ended since the committer last looked. They never grow beyond the deliveries in hand, because
/// each of them enters once and their number is bounded by admission; so pushing needs no await and no error. Where the
/// order in which deliveries end means nothing, each thread has a heap of its own: one that all threads share moves
/// between their caches at every message.
/// `changed` wakes the committer; a stored permit makes a push between its look and its wait count.
/// `outstanding` counts deliveries from the moment they are made until [`Inbox::ended`], wherever they are: the only
/// number by which a stopping host knows that it is done.
#[derive(Debug)]
pub struct Inbox {
    heaps: Box<[Heap]>,
    changed: Notify,
    outstanding: Outstanding,
}

/// On cache lines of its own, as is what follows.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Heap(Mutex<Vec<Entry>>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Outstanding(AtomicUsize);

impl Inbox {
    /// An empty inbox that gives back what ended in the order in which it ended.
    pub fn new() -> Arc<Self> {
        Self::of(1)
    }

    /// An empty inbox that keeps the order of what one thread ended, and no other.
    pub fn unordered() -> Arc<Self> {
        Self::of(HEAPS)
    }

    fn of(heaps: usize) -> Arc<Self> {
        Arc::new(Self {
            heaps: (0..heaps).map(|_| Heap::default()).collect(),
            changed: Notify::new(),
            outstanding: Outstanding::default(),
        })
    }

    fn push(&self, entry: Entry) {
        let first = {
            let mut heap = self.heaps[thread_number() % self.heaps.len()].0.lock();
            heap.push(entry);
            heap.len() == 1
        };
        // Only the push that makes a heap non-empty has to wake: the committer takes all that is there.
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
        let before = into.len();
        for heap in &self.heaps {
            let mut heap = heap.0.lock();
            if into.is_empty() {
                std::mem::swap(into, &mut heap);
            } else {
                into.append(&mut heap);
            }
        }
        into.len() > before
    }

    /// Deliveries made and not yet settled.
    pub fn outstanding(&self) -> usize {
        self.outstanding.0.load(Ordering::Acquire)
    }

    /// The broker knows what became of `n` of them.
    pub fn ended(&self, n: usize) {
        self.outstanding.0.fetch_sub(n, Ordering::AcqRel);
    }
}

/// Numbers threads in the order in which they first ask, for what is kept apart by thread.
pub(crate) fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that is being torn down has no number any more.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

/// One message and the right to settle it.
#[derive(Debug)]
#[must_use = "a dropped delivery is released and will be delivered again"]
pub struct Delivery {
    /// `None` only while being consumed.
    held: Option<(Box<Parcel>, Arc<Inbox>)>,
}

impl Delivery {
    /// Made by a source for each message it hands over. The inbox is the one it was subscribed with.
    pub fn new(token: Token, message: Message, inbox: &Arc<Inbox>) -> Self {
        inbox.outstanding.0.fetch_add(1, Ordering::AcqRel);
        let parcel = Box::new(Parcel {
            token,
            message,
            admitted: false,
            delivered: None,
            due: None,
            after: None,
        });
        Self {
            held: Some((parcel, Arc::clone(inbox))),
        }
    }

    /// What was read.
    pub fn message(&self) -> &Message {
        // Taken only by `commit` and `drop`, which own `self`.
        match &self.held {
            Some((parcel, _)) => &parcel.message,
            None => unreachable!("a delivery in use has its parcel"),
        }
    }

    /// Notes that it takes a place in the windows from now on.
    pub fn admit(&mut self) {
        if let Some((parcel, _)) = &mut self.held {
            parcel.admitted = true;
        }
    }

    /// Notes when it was delivered, by a broker that waits only so long, and before when it shall not run.
    pub fn arrived(&mut self, delivered: Instant, due: Option<Instant>) {
        if let Some((parcel, _)) = &mut self.held {
            parcel.delivered = Some(delivered);
            parcel.due = due;
        }
    }

    /// When its broker began to wait for its settlement; `None` where that waits for ever.
    pub fn delivered(&self) -> Option<Instant> {
        self.held.as_ref().and_then(|(parcel, _)| parcel.delivered)
    }

    /// Before when it shall not run.
    pub fn due(&self) -> Option<Instant> {
        self.held.as_ref().and_then(|(parcel, _)| parcel.due)
    }

    /// Drops it, which releases it; it shall come again only after so long.
    pub fn release_after(mut self, after: Duration) {
        if let Some((parcel, _)) = &mut self.held {
            parcel.after = Some(after);
        }
    }

    /// Notes charged attempts on a message that stays in the host, so that a release takes them along.
    pub fn charge(&mut self, attempts: u32, first_failed_ms: Option<u64>) {
        if let Some((parcel, _)) = &mut self.held {
            parcel.message.attempts = attempts;
            parcel.message.first_failed_ms = first_failed_ms;
        }
    }

    /// Ends this delivery with what `decide` makes of its parcel. Answers its hold on the inbox, for those who would rather
    /// let go of many at once: how many hold it is a number that everybody with a delivery changes.
    pub fn commit(mut self, decide: impl FnOnce(Box<Parcel>) -> Commit) -> Arc<Inbox> {
        match self.held.take() {
            Some((parcel, inbox)) => {
                inbox.push(Entry::Commit(Box::new(decide(parcel))));
                inbox
            }
            None => unreachable!("a delivery in use has its parcel"),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some((parcel, inbox)) = self.held.take() {
            inbox.push(Entry::Dropped(parcel));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(entries: &[Entry]) -> Vec<u64> {
        let token = |entry: &Entry| match entry {
            Entry::Dropped(parcel) => parcel.token.0,
            Entry::Commit(commit) => commit.parcel.token.0,
        };
        entries.iter().map(token).collect()
    }

    fn drop_some(inbox: &Arc<Inbox>, tokens: std::ops::Range<u64>) {
        for token in tokens {
            drop(Delivery::new(Token(token), Message::for_test("m"), inbox));
        }
    }

    #[test]
    fn what_threads_ended_comes_in_the_order_of_each_or_of_all() {
        for (inbox, ordered) in [(Inbox::new(), true), (Inbox::unordered(), false)] {
            drop_some(&inbox, 0..3);
            std::thread::scope(|scope| {
                scope.spawn(|| drop_some(&inbox, 3..6));
            });
            drop_some(&inbox, 6..9);
            assert_eq!(inbox.outstanding(), 9);
            let mut entries = Vec::new();
            assert!(inbox.try_take(&mut entries));
            let mut taken = ids(&entries);
            let of_one = |mine: fn(u64) -> bool| taken.iter().copied().filter(move |t| mine(*t));
            assert!(of_one(|t| !(3..6).contains(&t)).is_sorted());
            assert!(of_one(|t| (3..6).contains(&t)).is_sorted());
            if ordered {
                assert!(taken.is_sorted());
            }
            taken.sort_unstable();
            assert_eq!(taken, (0..9).collect::<Vec<_>>());
            assert!(!inbox.try_take(&mut entries), "each of them once");
            inbox.ended(9);
            assert_eq!(inbox.outstanding(), 0);
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_any_thread() {
        let inbox = Inbox::unordered();
        let mut entries = Vec::new();
        for round in 0..3 {
            let theirs = Arc::clone(&inbox);
            let other = std::thread::spawn(move || drop_some(&theirs, round..round + 1));
            inbox.take(&mut entries).await;
            other.join().expect("no panic");
        }
        assert_eq!(ids(&entries), [0, 1, 2]);
    }
}
