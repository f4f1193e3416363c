//! What this host has in hand of one subscription, and who it is to the server just now.
//!
//! A pending entry of ours is in exactly one of two places: *held* (a delivery of it is out, or waits in the source) or
//! *parked* (released, or taken over and not read yet). What is in neither is an orphan: its delivery was lost with a
//! connection. Recovery looks for those.
//!
//! One lock, never held over an await, taken a few times per batch: by the reader for what it read, by the settler for
//! what it settled, by recovery for what is due. Its maps are bounded by what the server calls pending for us.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::EntryId;
use crate::delivery::Token;

/// Which of a subscription's streams: its own, or the one its dead letters are redriven to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lane {
    Main,
    Retry,
}

impl Lane {
    pub(super) const BOTH: [Self; 2] = [Self::Main, Self::Retry];

    pub(super) fn index(self) -> usize {
        match self {
            Self::Main => 0,
            Self::Retry => 1,
        }
    }
}

/// An entry of this subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) lane: Lane,
    pub(super) id: EntryId,
}

/// Who we are to the server. A host that was taken over from gets a new name and a new epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) consumer: Arc<str>,
    pub(super) epoch: u32,
}

/// A delivery that is out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) place: Place,
    pub(super) epoch: u32,
    /// The server keeps a record of attempts for it, to be dropped with its acceptance.
    pub(super) recorded: bool,
}

#[derive(Debug)]
pub(super) struct Ledger {
    identity: Identity,
    next: u64,
    held: HashMap<Token, Held>,
    due: BinaryHeap<Reverse<(Instant, Place)>>,
    /// The places in `due`, so that none is parked twice.
    parked: HashSet<Place>,
}

impl Ledger {
    pub(super) fn new(consumer: Arc<str>) -> Self {
        Self {
            identity: Identity { consumer, epoch: 0 },
            next: 0,
            held: HashMap::new(),
            due: BinaryHeap::new(),
            parked: HashSet::new(),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Starts a new life under a new name: nothing from before is ours any more.
    pub(super) fn reborn(&mut self, consumer: Arc<str>) {
        self.identity = Identity {
            consumer,
            epoch: self.identity.epoch + 1,
        };
        self.due.clear();
        self.parked.clear();
    }

    /// Takes a delivery into hand. `None` where the entry was read under a name we no longer have.
    pub(super) fn hold(&mut self, place: Place, epoch: u32, recorded: bool) -> Option<Token> {
        if epoch != self.identity.epoch {
            return None;
        }
        self.next += 1;
        let token = Token(self.next);
        self.held.insert(
            token,
            Held {
                place,
                epoch,
                recorded,
            },
        );
        Some(token)
    }

    /// A delivery that can still be settled. One from before a rebirth is let go.
    pub(super) fn settling(&mut self, token: Token) -> Option<Held> {
        let held = *self.held.get(&token)?;
        if held.epoch == self.identity.epoch {
            return Some(held);
        }
        self.held.remove(&token);
        None
    }

    /// Whether the delivery is of this life.
    pub(super) fn current(&self, token: Token) -> bool {
        self.held
            .get(&token)
            .is_some_and(|h| h.epoch == self.identity.epoch)
    }

    /// The delivery has ended: accepted, or no longer ours.
    pub(super) fn end(&mut self, token: Token) {
        self.held.remove(&token);
    }

    /// The delivery has ended and its entry is ours still, to come again `after`.
    pub(super) fn release(&mut self, token: Token, now: Instant, after: Duration) {
        if let Some(held) = self.held.remove(&token)
            && held.epoch == self.identity.epoch
        {
            self.park(held.place, held.epoch, now + after);
        }
    }

    /// Keeps an entry until it is due.
    pub(super) fn park(&mut self, place: Place, epoch: u32, at: Instant) {
        if epoch == self.identity.epoch && self.parked.insert(place) {
            self.due.push(Reverse((at, place)));
        }
    }

    /// When the next parked entry is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The entries of one stream that are due, oldest first, at most `most`. They stay marked as parked until
    /// [`unpark`](Self::unpark), so that nobody takes them for orphans while they are being read.
    pub(super) fn take_due(&mut self, now: Instant, most: usize) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        while places.len() < most {
            match self.due.peek() {
                Some(Reverse((at, place)))
                    if *at <= now && places.first().is_none_or(|p| p.lane == place.lane) =>
                {
                    places.push(*place);
                    self.due.pop();
                }
                _ => break,
            }
        }
        places
    }

    /// The entry is no longer parked.
    pub(super) fn unpark(&mut self, place: Place) {
        self.parked.remove(&place);
    }

    /// Puts places from [`take_due`](Self::take_due) back: reading them failed.
    pub(super) fn put_back(&mut self, places: &[Place], epoch: u32, now: Instant) {
        if epoch != self.identity.epoch {
            return;
        }
        for place in places {
            if self.parked.contains(place) {
                self.due.push(Reverse((now, *place)));
            }
        }
    }

    /// Of `pending`, those no delivery and no parking place is known for.
    pub(super) fn orphans(&self, pending: &[Place]) -> Vec<Place> {
        let held: HashSet<Place> = self
            .held
            .values()
            .filter(|h| h.epoch == self.identity.epoch)
            .map(|h| h.place)
            .collect();
        pending
            .iter()
            .filter(|p| !held.contains(p) && !self.parked.contains(p))
            .copied()
            .collect()
    }

    /// Number of parked entries.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place {
            lane: Lane::Main,
            id: EntryId { ms: 1, seq },
        }
    }

    #[test]
    fn what_is_held_or_parked_is_no_orphan() {
        let now = Instant::now();
        let mut ledger = Ledger::new("c".into());
        let held = ledger.hold(place(1), 0, false).unwrap();
        ledger.park(place(2), 0, now);
        assert_eq!(ledger.orphans(&[place(1), place(2), place(3)]), [place(3)]);
        let due = ledger.take_due(now, 10);
        assert_eq!(due, [place(2)]);
        assert!(ledger.orphans(&[place(2)]).is_empty(), "being read");
        ledger.unpark(place(2));
        assert_eq!(ledger.orphans(&[place(2)]), [place(2)]);
        ledger.release(held, now, Duration::from_secs(1));
        assert!(ledger.orphans(&[place(1)]).is_empty());
        assert!(ledger.take_due(now, 10).is_empty());
        assert_eq!(
            ledger.take_due(now + Duration::from_secs(1), 10),
            [place(1)]
        );
    }

    #[test]
    fn after_a_rebirth_nothing_from_before_can_be_settled() {
        let now = Instant::now();
        let mut ledger = Ledger::new("c".into());
        let old = ledger.hold(place(1), 0, false).unwrap();
        ledger.park(place(2), 0, now);
        ledger.reborn("d".into());
        assert!(!ledger.current(old));
        assert!(ledger.settling(old).is_none());
        assert!(
            ledger.hold(place(3), 0, false).is_none(),
            "read under the old name"
        );
        assert!(ledger.next_due().is_none());
        ledger.release(old, now, Duration::ZERO);
        assert_eq!(ledger.parked(), 0);
    }

    #[test]
    fn a_batch_is_of_one_stream() {
        let now = Instant::now();
        let mut ledger = Ledger::new("c".into());
        ledger.park(place(1), 0, now);
        let other = Place {
            lane: Lane::Retry,
            ..place(2)
        };
        ledger.park(other, 0, now);
        assert_eq!(ledger.take_due(now, 10), [place(1)]);
        assert_eq!(ledger.take_due(now, 10), [other]);
    }
}
