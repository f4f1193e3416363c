//! Which messages of a stream are in hand.
//!
//! A message is in hand from the moment it is read off the connection, not from when it is handed over: the server's
//! patience runs from its delivery, so what waits here is kept alive like what runs.
//!
//! What surprises: after a connection was away for longer than that patience, the server delivers a message again that is
//! still in hand. It is the same one: it is not handed over twice, and settled by the newer delivery's subject. So does a
//! server that was killed and has forgotten what it delivered last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::time::Instant;

use super::wire::Received;
use crate::delivery::Token;

/// A message in hand.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Where the server wants to hear of it.
    pub(super) reply: ByteString,
    /// As it was delivered: it is published like this where it has to wait.
    pub(super) received: Arc<Received>,
    /// It came from the subscription's own subject.
    pub(super) own: bool,
    /// Deliveries that ended without a settlement, this one not among them.
    pub(super) deliveries: u32,
    /// When the server was last told that it is alive.
    pub(super) told: Instant,
    /// The server does not know that it delivered it.
    pub(super) forgotten: bool,
}

/// What a message is, whichever delivery brought it. The time is part of it: a stream that is made again counts from 1.
type Key = (bool, u64, i64);

/// The messages of one subscription.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: u64,
    held: HashMap<Token, Held>,
    by_key: HashMap<Key, Token>,
}

impl Ledger {
    /// It was delivered. `None`: it is in hand already.
    pub(super) fn took(&mut self, held: Held) -> Option<Token> {
        let key = key(&held);
        if let Some(there) = key
            .and_then(|key| self.by_key.get(&key))
            .and_then(|token| self.held.get_mut(token))
        {
            there.reply = held.reply;
            there.told = held.told;
            there.forgotten = false;
            return None;
        }
        self.next += 1;
        let token = Token(self.next);
        if let Some(key) = key {
            self.by_key.insert(key, token);
        }
        self.held.insert(token, held);
        Some(token)
    }

    /// The message of this name; `None` where it is done with.
    pub(super) fn held(&self, token: Token) -> Option<&Held> {
        self.held.get(&token)
    }

    /// It is done with.
    pub(super) fn done(&mut self, token: Token) {
        if let Some(key) = self.held.remove(&token).as_ref().and_then(key) {
            self.by_key.remove(&key);
        }
    }

    /// The stream they came from is gone: nothing of it can be settled any more. Answers how many those were.
    pub(super) fn forget(&mut self, own: bool) -> usize {
        let before = self.held.len();
        self.held.retain(|_, held| held.own != own);
        self.by_key.retain(|(of_own, ..), _| *of_own != own);
        before - self.held.len()
    }

    /// Of these the server has delivered none beyond this place in the stream, as far as it knows.
    pub(super) fn forgotten(&mut self, own: bool, delivered: u64) {
        for held in self.held.values_mut().filter(|held| held.own == own) {
            let place = held.received.place.as_ref();
            held.forgotten = place.is_some_and(|place| place.sequence > delivered);
        }
    }

    /// Whether the server answers to nothing that is said of it.
    pub(super) fn is_forgotten(&self, token: Token) -> bool {
        self.held.get(&token).is_some_and(|held| held.forgotten)
    }

    /// The place of a message in its stream.
    pub(super) fn sequence(&self, token: Token) -> Option<u64> {
        Some(self.held.get(&token)?.received.place.as_ref()?.sequence)
    }

    /// Those of which the server has not heard for `every`: it is told now.
    pub(super) fn silent(&mut self, now: Instant, every: Duration) -> Vec<ByteString> {
        let mut silent = Vec::new();
        for held in self.held.values_mut() {
            if now.saturating_duration_since(held.told) >= every {
                held.told = now;
                silent.push(held.reply.clone());
            }
        }
        silent
    }
}

fn key(held: &Held) -> Option<Key> {
    let place = held.received.place.as_ref()?;
    Some((held.own, place.sequence, place.published_ns))
}

#[cfg(test)]
mod tests;
