//! Admission: how much may be in hand, in messages and bytes.
//!
//! One window per subscription bounds what it holds; one for the host bounds the sum. A place is taken when a message
//! is fetched and given back when its commit is carried out, both by the batch, so the hot path touches neither.
//!
//! The host's window is checked before a fetch and taken after it, so it can be exceeded by what the fetches under
//! way bring: at most one fetch per subscription. Reserving ahead would let idle subscriptions hold room they may
//! never use.

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ports::Room;

/// A bound on messages and bytes in hand.
#[derive(Debug)]
pub(super) struct Window {
    messages: usize,
    bytes: usize,
    used: Mutex<Used>,
    /// Rung whenever places come back; those who wait look again.
    freed: Notify,
}

/// What is in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Used {
    /// Messages that take a place.
    pub(super) messages: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// Messages that wait in the host for a retry: they have given their place back but are not settled.
    pub(super) held: usize,
}

impl Used {
    /// Unsettled messages, with a place or without.
    pub(super) fn in_hand(&self) -> usize {
        self.messages + self.held
    }
}

impl Window {
    /// At least one message and one byte.
    pub(super) fn new(messages: usize, bytes: usize) -> Self {
        Self {
            messages: messages.max(1),
            bytes: bytes.max(1),
            used: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// What may be fetched now, or `None` when full. Messages held for a retry may be as many again as the window:
    /// beyond that they count, or a retry storm would have no bound.
    pub(super) fn room(&self) -> Option<Room> {
        let used = *self.used.lock();
        let surplus = used.held.saturating_sub(self.messages);
        let messages = self.messages.saturating_sub(used.messages + surplus);
        let bytes = self.bytes.saturating_sub(used.bytes);
        (messages > 0 && bytes > 0).then_some(Room { messages, bytes })
    }

    /// Waits until something is given back. The caller makes sure of its own room afterwards.
    pub(super) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }

    /// Takes places for what was fetched.
    pub(super) fn take(&self, messages: usize, bytes: usize) {
        let mut used = self.used.lock();
        used.messages += messages;
        used.bytes += bytes;
    }

    /// Gives places back for what was settled.
    pub(super) fn give(&self, messages: usize, bytes: usize) {
        {
            let mut used = self.used.lock();
            used.messages = used.messages.saturating_sub(messages);
            used.bytes = used.bytes.saturating_sub(bytes);
        }
        self.freed.notify_waiters();
    }

    /// One message gives its place back but stays in hand.
    pub(super) fn hold(&self) {
        {
            let mut used = self.used.lock();
            used.messages = used.messages.saturating_sub(1);
            used.held += 1;
        }
        self.freed.notify_waiters();
    }

    /// One held message takes its place again, whether or not there is room.
    pub(super) fn unhold(&self) {
        let mut used = self.used.lock();
        used.held = used.held.saturating_sub(1);
        used.messages += 1;
    }

    /// What is in hand now.
    pub(super) fn used(&self) -> Used {
        *self.used.lock()
    }
}

/// The room both windows leave.
pub(super) fn common_room(one: &Window, other: &Window) -> Option<Room> {
    let (a, b) = (one.room()?, other.room()?);
    Some(Room {
        messages: a.messages.min(b.messages),
        bytes: a.bytes.min(b.bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_shrinks_by_messages_and_by_bytes() {
        let w = Window::new(10, 1000);
        w.take(4, 900);
        assert_eq!(
            w.room(),
            Some(Room {
                messages: 6,
                bytes: 100
            })
        );
        w.take(1, 200);
        assert_eq!(w.room(), None, "bytes are used up");
        w.give(1, 200);
        w.take(6, 0);
        assert_eq!(w.room(), None, "messages are used up");
    }

    #[test]
    fn a_held_message_gives_its_place_back_but_stays_in_hand() {
        let w = Window::new(2, 1000);
        w.take(2, 10);
        w.hold();
        assert_eq!(w.room().map(|r| r.messages), Some(1));
        assert_eq!(w.used().in_hand(), 2);
        w.unhold();
        assert_eq!(w.room(), None);
    }

    #[test]
    fn held_messages_are_bounded_too() {
        let w = Window::new(2, 1000);
        for _ in 0..2 {
            w.take(1, 1);
            w.hold();
        }
        assert!(w.room().is_some());
        for _ in 0..2 {
            w.take(1, 1);
            w.hold();
        }
        assert_eq!(w.room(), None, "twice the window waits");
    }

    #[test]
    fn two_windows_share_the_smaller_room() {
        let (a, b) = (Window::new(10, 50), Window::new(3, 1000));
        assert_eq!(
            common_room(&a, &b),
            Some(Room {
                messages: 3,
                bytes: 50
            })
        );
        b.take(3, 0);
        assert_eq!(common_room(&a, &b), None);
    }
}
