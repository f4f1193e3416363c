//! The half of a subscription that hands messages over.
//!
//! Reading happens in two tasks, [`Reader`](super::reader::Reader) and [`Recovery`](super::recovery::Recovery), so that
//! a cancelled fetch cancels no command: what they read waits in their channels or in `ready` for the next fetch. What
//! is read again comes before what is new.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::subscription::{Fetched, Subscription};
use crate::delivery::{Delivery, Inbox};
use crate::ports::{BrokerError, Room, Source};

pub(super) struct RedisSource {
    pub(super) sub: Arc<Subscription>,
    pub(super) inbox: Arc<Inbox>,
    /// Asks the reader for so many. One place is enough: `asked` says whether an answer is outstanding.
    pub(super) asks: mpsc::Sender<usize>,
    pub(super) asked: bool,
    /// The reader's answers. One place: it is asked once at a time.
    pub(super) fresh: mpsc::Receiver<Result<Vec<Fetched>, BrokerError>>,
    /// What is read again; see [`Recovery`](super::recovery::Recovery) for its bound.
    pub(super) again: mpsc::Receiver<Vec<Fetched>>,
    /// Read and not handed over: what did not fit into the room of its fetch. At most one answer of each channel.
    pub(super) ready: VecDeque<Fetched>,
    /// Ends the reader and recovery.
    pub(super) reading: CancellationToken,
    /// Ends both also where the source is dropped without [`Source::stop`].
    pub(super) _reading: DropGuard,
    /// Ends the lease when source and settler are both gone.
    pub(super) _lease: Arc<DropGuard>,
}

impl RedisSource {
    /// As much of `ready` as there is room for.
    fn take(&mut self, room: Room) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(room.messages.min(self.ready.len()));
        let mut bytes = 0usize;
        let ledger = self.sub.ledger.lock();
        while taken.len() < room.messages
            && let Some(next) = self.ready.front()
        {
            let size = next.message.size();
            if !taken.is_empty() && bytes.saturating_add(size) > room.bytes {
                break;
            }
            let Some(Fetched { token, message }) = self.ready.pop_front() else {
                break;
            };
            // Read under a name we have lost since: it comes again by its new owner.
            if ledger.current(token) {
                bytes = bytes.saturating_add(size);
                taken.push(Delivery::new(token, message, &self.inbox));
            }
        }
        taken
    }

    fn add(&mut self, read: Vec<Fetched>) {
        let bytes = read.iter().map(|f| f.message.size()).sum();
        self.sub.sizes.saw(read.len(), bytes);
        self.ready.extend(read);
    }

    async fn next(&mut self, room: Room) -> Result<Vec<Delivery>, BrokerError> {
        loop {
            let taken = self.take(room);
            if !taken.is_empty() {
                return Ok(taken);
            }
            let count = self.sub.sizes.how_many(room.messages, room.bytes);
            if !self.asked && self.asks.try_send(count).is_ok() {
                self.asked = true;
            }
            tokio::select! {
                biased;
                Some(again) = self.again.recv() => self.add(again),
                Some(fresh) = self.fresh.recv() => {
                    self.asked = false;
                    self.add(fresh?);
                }
                else => return Err(BrokerError::Unavailable("the subscription is closed".into())),
            }
        }
    }
}

impl Source for RedisSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(self.next(room))
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.reading.cancel();
        Box::pin(async {})
    }
}
