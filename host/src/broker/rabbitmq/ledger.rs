//! Which deliveries are in hand, and by which channel they came.
//!
//! A delivery tag means something only on the channel it came by. After a channel is lost its messages are the server's
//! again, and the next channel counts its tags from 1: a tag of the old one, settled there, would acknowledge another
//! message. So every delivery bears the epoch of its channel, and what is left of an epoch is forgotten as a whole when
//! the next begins.
//!
//! Acknowledgements are joined ([`Ledger::acknowledge`]): one frame acknowledges a tag and all before it. That is safe
//! only where every tag before it is known here and done with. Two consumers share a channel, and what the client has
//! received for one of them and not handed over yet has a tag that nobody here has seen; acknowledging past it would
//! lose it. The server gives tags without gaps (`rabbit_channel`, `next_tag`), so a gap in what was seen ends the run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::notes::Note;
use super::wire::Received;
use crate::delivery::Token;

/// One channel, from its opening to its loss. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Epoch(u64);

/// A delivery in hand.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    /// As it was delivered: it is published like this where it has to wait.
    pub(super) received: Arc<Received>,
    /// It came from the subscription's own queue.
    pub(super) own: bool,
    /// As its message says.
    pub(super) deliveries: u32,
    /// Minted for it, where it had none.
    pub(super) minted: Option<bytestring::ByteString>,
    /// Since when the server waits for its settlement.
    pub(super) since: Instant,
    /// Where it is.
    pub(super) with: With,
    /// What is to be known of it should it come again in its place.
    pub(super) note: Note,
}

/// Who has a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    /// It was read and not handed over.
    Source,
    /// It was handed over.
    Host,
    /// It waited too long to be handed over and is being given back.
    Nobody,
}

/// What is sent to settle tags: this one, or with `multiple` all up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    pub(super) multiple: bool,
}

/// The deliveries of one subscription.
#[derive(Debug)]
pub(super) struct Ledger {
    epoch: Epoch,
    next: u64,
    held: HashMap<Token, Held>,
    /// Up to here every tag of this epoch was seen and is done with.
    through: u64,
    /// Done with, above `through`.
    done: BTreeSet<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            epoch: Epoch(0),
            next: 0,
            held: HashMap::new(),
            through: 0,
            done: BTreeSet::new(),
        }
    }
}

impl Ledger {
    /// A new channel: whatever is in hand comes again, and can no longer be settled. Answers it, in its order.
    pub(super) fn begin(&mut self) -> (Epoch, Vec<Held>) {
        self.epoch = Epoch(self.epoch.0 + 1);
        let mut lost: Vec<Held> = self.held.drain().map(|(_, held)| held).collect();
        lost.sort_unstable_by_key(|held| held.received.tag);
        self.done.clear();
        self.through = 0;
        (self.epoch, lost)
    }

    /// The channel that is in use.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A message was delivered. `None` where its channel is gone: it comes again.
    pub(super) fn took(&mut self, held: Held) -> Option<Token> {
        if held.epoch != self.epoch {
            return None;
        }
        self.next += 1;
        let token = Token(self.next);
        self.held.insert(token, held);
        Some(token)
    }

    /// The delivery of this name; `None` where it is settled, or its channel is gone.
    pub(super) fn held(&self, token: Token) -> Option<&Held> {
        self.held.get(&token)
    }

    /// The same, to note something about it.
    pub(super) fn held_mut(&mut self, token: Token) -> Option<&mut Held> {
        self.held.get_mut(&token)
    }

    /// What was read by then and not handed over since, in its order. It is marked as being given back.
    pub(super) fn unwanted(&mut self, by: Instant) -> Vec<(Token, Held)> {
        let mut unwanted = Vec::new();
        for (token, held) in &mut self.held {
            if held.with == With::Source && held.since <= by {
                held.with = With::Nobody;
                unwanted.push((*token, held.clone()));
            }
        }
        unwanted.sort_unstable_by_key(|(token, _)| *token);
        unwanted
    }

    /// Whether the host has any of them.
    pub(super) fn any_with_host(&self) -> bool {
        self.held.values().any(|held| held.with == With::Host)
    }

    /// Deliveries in hand.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// These are done with: what is to be sent by the channel of `epoch`. Nothing where that is not the one in use, since
    /// the tags would be another's. Names that are not held are left out.
    pub(super) fn acknowledge(&mut self, epoch: Epoch, tokens: &[Token]) -> Vec<Ack> {
        if epoch != self.epoch {
            return Vec::new();
        }
        let mut tags: Vec<u64> = tokens.iter().filter_map(|t| self.take(*t)).collect();
        tags.sort_unstable();
        self.done.extend(&tags);
        let before = self.through;
        self.advance();
        let (joined, alone) = tags.split_at(tags.partition_point(|tag| *tag <= self.through));
        let mut acks = Vec::with_capacity(alone.len() + 1);
        if let Some(last) = joined.last() {
            // Whatever else lies before it is done with already; the server takes that.
            let multiple = *last > before + 1;
            acks.push(Ack {
                tag: *last,
                multiple,
            });
        }
        acks.extend(alone.iter().map(|tag| Ack {
            tag: *tag,
            multiple: false,
        }));
        acks
    }

    fn take(&mut self, token: Token) -> Option<u64> {
        self.held.remove(&token).map(|held| held.received.tag)
    }

    fn advance(&mut self) {
        while self.done.remove(&(self.through + 1)) {
            self.through += 1;
        }
    }
}

#[cfg(test)]
mod tests;
