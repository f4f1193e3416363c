//! What this host has in hand of one list or sorted set, and who it is to the server just now.
//!
//! What is released is nobody's, so there is nothing parked here as there is for a stream. What the server says we hold
//! and is not in here was lost with a connection. One lock, never held over an await.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytestring::ByteString;

use super::record::Record;
use crate::broker::redis::ledger::Identity;
use crate::delivery::Token;

/// A delivery that is out.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: ByteString,
    pub(super) record: Record,
    epoch: u32,
}

#[derive(Debug)]
pub(super) struct Ledger {
    identity: Identity,
    next: u64,
    held: HashMap<Token, Held>,
    /// The ids of those that are held under our present name.
    ids: HashSet<ByteString>,
}

impl Ledger {
    /// Tokens are every other number, from `first`: a subscription has two of these.
    pub(super) fn new(consumer: Arc<str>, first: u64) -> Self {
        Self {
            identity: Identity { consumer, epoch: 0 },
            next: first,
            held: HashMap::new(),
            ids: HashSet::new(),
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
        self.ids.clear();
    }

    /// Takes a delivery into hand. `None` where it was taken under a name we no longer have.
    pub(super) fn hold(&mut self, id: ByteString, epoch: u32, record: Record) -> Option<Token> {
        if epoch != self.identity.epoch {
            return None;
        }
        let token = Token(self.next);
        self.next += 2;
        self.ids.insert(id.clone());
        self.held.insert(token, Held { id, record, epoch });
        Some(token)
    }

    /// Whether a delivery may still be handed over.
    pub(super) fn current(&self, token: Token) -> bool {
        let held = self.held.get(&token);
        held.is_some_and(|held| held.epoch == self.identity.epoch)
    }

    /// What is to be settled. `None`, and forgotten, where it is no longer ours.
    pub(super) fn settling(&mut self, token: Token) -> Option<Held> {
        if self.current(token) {
            return self.held.get(&token).cloned();
        }
        self.held.remove(&token);
        None
    }

    /// The server knows what became of it, or it is somebody else's.
    pub(super) fn end(&mut self, token: Token) {
        if let Some(held) = self.held.remove(&token)
            && held.epoch == self.identity.epoch
        {
            self.ids.remove(&held.id);
        }
    }

    /// Which of these nobody has in hand.
    pub(super) fn orphans(&self, ids: Vec<ByteString>) -> Vec<ByteString> {
        ids.into_iter()
            .filter(|id| !self.ids.contains(id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_has_nothing_of_the_old_one() {
        let mut ledger = Ledger::new("a".into(), 1);
        let old = ledger.hold("1".into(), 0, Record::default()).unwrap();
        assert!(ledger.current(old));
        assert_eq!(ledger.orphans(vec!["1".into(), "2".into()]), ["2"]);
        ledger.reborn("b".into());
        assert!(!ledger.current(old));
        assert!(ledger.hold("2".into(), 0, Record::default()).is_none());
        // The same item again, under the new name: the end of the old delivery is not the end of this one.
        let new = ledger.hold("1".into(), 1, Record::default()).unwrap();
        assert!(ledger.settling(old).is_none());
        ledger.end(old);
        assert_eq!(ledger.orphans(vec!["1".into()]), Vec::<ByteString>::new());
        ledger.end(new);
        assert_eq!(ledger.orphans(vec!["1".into()]), ["1"]);
    }

    #[test]
    fn two_ledgers_share_no_token() {
        let (mut even, mut odd) = (Ledger::new("a".into(), 0), Ledger::new("a".into(), 1));
        for _ in 0..3 {
            let one = even.hold("x".into(), 0, Record::default()).unwrap();
            let other = odd.hold("x".into(), 0, Record::default()).unwrap();
            assert_eq!((one.0 % 2, other.0 % 2), (0, 1));
        }
    }
}
