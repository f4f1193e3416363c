//! What the host remembers of messages that it gave back in their places.
//!
//! Under an order promise a message goes back by the end of the connection ([`subscription`](super::subscription)), and there
//! is no place beside it for attempts or for the rest of a delay; a quorum queue counts it as a failed delivery besides. As long as the
//! host lives, it knows better: a note is written for each message that was in hand when it took the connection down, and
//! taken again when the message comes back. The message is known by what is in it: tags and, without an id of the
//! publisher's, ids are new each time. Of several that are the same the first to go is the first to come.
//!
//! Notes are for what the server says has been delivered before, so that a message somebody publishes anew is not taken for one that
//! came back. One that another host gets leaves its note behind: those are bounded, and what is not noted is counted short, never long.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::time::Instant;

use super::wire::{DELIVERY_COUNT, Received};

/// Most notes at once. More than two consumers are ever sent ahead.
const MOST: usize = 8192;

/// About one message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Note {
    /// Charged so far.
    pub(super) attempts: u32,
    pub(super) first_failed_ms: Option<u64>,
    /// Before when it shall not run.
    pub(super) due: Option<Instant>,
    /// How often the host itself gave it back: those are no crashes.
    pub(super) returns: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notes {
    by_content: HashMap<u64, VecDeque<Note>>,
    count: usize,
}

impl Notes {
    /// A connection ends: these were in hand, in their order. What is left of before and says nothing but how often a
    /// message was given back is forgotten.
    pub(super) fn write<'a>(&mut self, held: impl Iterator<Item = (&'a Received, Note)>) {
        for notes in self.by_content.values_mut() {
            notes.retain(|note| note.attempts > 0);
        }
        self.by_content.retain(|_, notes| !notes.is_empty());
        self.count = self.by_content.values().map(VecDeque::len).sum();
        for (received, note) in held {
            if note == Note::default() || self.count >= MOST {
                continue;
            }
            let notes = self.by_content.entry(content(received)).or_default();
            notes.push_back(note);
            self.count += 1;
        }
    }

    /// What is known of a message that arrives.
    pub(super) fn take(&mut self, received: &Received) -> Option<Note> {
        if self.count == 0 || !received.redelivered {
            return None;
        }
        let key = content(received);
        let notes = self.by_content.get_mut(&key)?;
        let note = notes.pop_front()?;
        if notes.is_empty() {
            self.by_content.remove(&key);
        }
        self.count -= 1;
        Some(note)
    }
}

/// What stays the same however often a message is delivered.
fn content(received: &Received) -> u64 {
    let mut hasher = DefaultHasher::new();
    let properties = &received.properties;
    received.exchange.as_str().hash(&mut hasher);
    received.routing_key.as_str().hash(&mut hasher);
    received.payload.hash(&mut hasher);
    for text in [
        properties.message_id(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.kind(),
    ] {
        text.as_ref().map(|text| text.as_str()).hash(&mut hasher);
    }
    properties.timestamp().hash(&mut hasher);
    let headers = properties.headers().iter().flatten();
    for (name, value) in headers.filter(|(name, _)| name.as_str() != DELIVERY_COUNT) {
        name.as_str().hash(&mut hasher);
        format!("{value:?}").hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
