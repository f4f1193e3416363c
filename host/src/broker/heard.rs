//! What listeners heard: messages of places that keep nothing, until dispatch has room for them.
//!
//! Every message is taken from the connection at once, because a server cuts off a listener that is slow, and clients
//! drop what nobody takes without a count to trust. What does not fit here is dropped and counted. Nothing can be given
//! back: what is released is lost, and counted with the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::commit::Settlement;
use crate::delivery::{Delivery, Inbox, Token};
use crate::message::Message;
use crate::ports::{Room, Settle};

/// Most messages that wait to be handed over.
const MESSAGES: usize = 8192;
/// Most bytes of them; one message may exceed it.
const BYTES: usize = 32 << 20;
/// Between two lines in the log about messages that were lost.
const SILENCE: Duration = Duration::from_secs(5);

/// Of one subscription. `bytes` is the size of all that is `ready`.
pub(super) struct Heard {
    system: &'static str,
    place: Arc<str>,
    state: Mutex<State>,
    arrived: Notify,
    /// Messages that nobody will handle any more, of all subscriptions of the broker.
    lost: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Message>,
    bytes: usize,
    /// Even numbers; odd ones are for what an adapter reads beside this.
    token: u64,
    /// When the log last spoke of losses.
    said: Option<Instant>,
}

impl Heard {
    /// Nothing yet. System and place are for the log; `lost` counts for the whole broker.
    pub(super) fn new(system: &'static str, place: Arc<str>, lost: Arc<AtomicU64>) -> Self {
        Self {
            system,
            place,
            state: Mutex::default(),
            arrived: Notify::new(),
            lost,
        }
    }

    /// Keeps a message of about `size` bytes, or loses it: `read` is called only where there is room.
    pub(super) fn add(&self, size: usize, read: impl FnOnce() -> Message) {
        let fits = {
            let mut state = self.state.lock();
            let room = state.ready.is_empty() || state.bytes.saturating_add(size) <= BYTES;
            let fits = state.ready.len() < MESSAGES && room;
            if fits {
                let message = read();
                state.bytes = state.bytes.saturating_add(message.size());
                state.ready.push_back(message);
            }
            fits
        };
        if fits {
            self.arrived.notify_one();
        } else {
            self.lose(1, "they come faster than they are handled");
        }
    }

    /// As much as there is room for, at least one. Waits until there is something. Cancel-safe.
    pub(super) async fn take(&self, room: Room, inbox: &Arc<Inbox>) -> Vec<Delivery> {
        loop {
            let taken = self.try_take(room, inbox);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn try_take(&self, room: Room, inbox: &Arc<Inbox>) -> Vec<Delivery> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        let mut bytes = 0_usize;
        while taken.len() < room.messages
            && let Some(size) = state.ready.front().map(Message::size)
        {
            bytes = bytes.saturating_add(size);
            if !taken.is_empty() && bytes > room.bytes {
                break;
            }
            let Some(message) = state.ready.pop_front() else {
                break;
            };
            state.bytes = state.bytes.saturating_sub(size);
            state.token += 2;
            taken.push(Delivery::new(Token(state.token), message, inbox));
        }
        taken
    }

    /// Messages that wait here.
    #[cfg(any(feature = "nats", test))]
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Notes what became of messages: what is released is lost.
    pub(super) fn settled<'a>(&self, batch: impl Iterator<Item = &'a Settle>) {
        let released = |settle: &&Settle| matches!(settle.settlement, Settlement::Release { .. });
        let lost = batch.filter(released).count();
        self.lose(
            lost,
            "they were given back, and there is nobody to keep them",
        );
    }

    /// Loses what waits.
    pub(super) fn stop(&self) {
        let left = {
            let mut state = self.state.lock();
            state.bytes = 0;
            std::mem::take(&mut state.ready)
        };
        self.lose(left.len(), "the host stops");
    }

    fn lose(&self, count: usize, why: &str) {
        if count == 0 {
            return;
        }
        let count = count as u64;
        let lost = self.lost.fetch_add(count, Ordering::Relaxed) + count;
        let now = Instant::now();
        let mut state = self.state.lock();
        let silent = |said| now.duration_since(said) < SILENCE;
        if !state.said.is_some_and(silent) {
            state.said = Some(now);
            let (system, place) = (self.system, &*self.place);
            tracing::warn!(system, place, lost, why, "messages are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard() -> Heard {
        Heard::new("test", "news".into(), Arc::default())
    }

    fn message(bytes: usize) -> Message {
        let mut message = Message::for_test("m");
        message.payload = vec![b'x'; bytes].into();
        message
    }

    fn lost(heard: &Heard) -> u64 {
        heard.lost.load(Ordering::Relaxed)
    }

    #[test]
    fn what_does_not_fit_is_lost_and_counted() {
        let heard = heard();
        for _ in 0..MESSAGES + 3 {
            heard.add(1, || message(1));
        }
        assert_eq!((heard.waiting(), lost(&heard)), (MESSAGES, 3));
        heard.stop();
        assert_eq!((heard.waiting(), lost(&heard)), (0, MESSAGES as u64 + 3));
    }

    #[tokio::test]
    async fn one_message_may_be_too_large_and_no_second() {
        let heard = heard();
        let inbox = Inbox::new();
        heard.add(BYTES * 2, || message(BYTES * 2));
        heard.add(1, || unreachable!("there is no room"));
        assert_eq!((heard.waiting(), lost(&heard)), (1, 1));
        let room = Room {
            messages: 10,
            bytes: 1,
        };
        assert_eq!(heard.take(room, &inbox).await.len(), 1, "at least one");
        heard.add(1, || message(1));
        assert_eq!(heard.waiting(), 1, "its bytes were given back");
    }

    #[tokio::test]
    async fn it_gives_as_much_as_there_is_room_for() {
        let heard = heard();
        let inbox = Inbox::new();
        for _ in 0..10 {
            heard.add(100, || message(100));
        }
        let size = message(100).size();
        let take = async |messages, bytes| {
            let taken = heard.take(Room { messages, bytes }, &inbox).await;
            taken.len()
        };
        assert_eq!(take(4, usize::MAX).await, 4);
        assert_eq!(take(10, size * 2).await, 2);
        assert_eq!(take(10, usize::MAX).await, 4);
    }

    #[test]
    fn what_is_given_back_is_lost() {
        let heard = heard();
        let settle = |settlement| Settle {
            token: Token(2),
            settlement,
        };
        let released = settle(Settlement::Release {
            after: None,
            attempts: 0,
            first_failed_ms: None,
        });
        heard.settled([settle(Settlement::Accept), released].iter());
        assert_eq!(lost(&heard), 1);
    }
}
