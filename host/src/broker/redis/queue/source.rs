//! The half of a subscription to a list or a sorted set that hands messages over.
//!
//! A cancelled fetch cancels no command: what the readers took waits in their channels or in `ready` for the next fetch.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Queue;
use crate::broker::redis::subscription::Fetched;
use crate::delivery::{Delivery, Inbox};
use crate::ports::{BrokerError, Room, Source};

/// One of the two queues, as the source sees it.
pub(super) struct Lane {
    pub(super) queue: Arc<Queue>,
    /// Asks the reader. One place is enough: `asked` says whether an answer is outstanding.
    pub(super) asks: mpsc::Sender<Room>,
    pub(super) asked: bool,
    /// The reader's answers. One place: it is asked once at a time.
    pub(super) fresh: mpsc::Receiver<Result<Vec<Fetched>, BrokerError>>,
}

impl Lane {
    fn ask(&mut self, room: Room) {
        if !self.asked && self.asks.try_send(room).is_ok() {
            self.asked = true;
        }
    }

    /// Cancel-safe.
    async fn answer(&mut self) -> Result<Vec<Fetched>, BrokerError> {
        let fresh = self.fresh.recv().await;
        self.asked = false;
        fresh.unwrap_or_else(|| {
            Err(BrokerError::Unavailable(
                "the subscription is closed".into(),
            ))
        })
    }
}

pub(in crate::broker::redis) struct QueueSource {
    /// That of the place, if it is one, and last that of what is redriven.
    pub(super) lanes: Vec<Lane>,
    pub(super) inbox: Arc<Inbox>,
    /// Taken and not handed over: what did not fit into the room of its fetch. At most one answer of each lane.
    pub(super) ready: VecDeque<Fetched>,
    /// Ends the tasks.
    pub(super) reading: CancellationToken,
    /// Ends them also where the source is dropped without [`Source::stop`].
    pub(super) _reading: DropGuard,
    /// Ends the leases when source and settler are both gone.
    pub(super) _lease: Arc<DropGuard>,
}

impl QueueSource {
    /// As much of `ready` as there is room for.
    fn take(&mut self, room: Room) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(room.messages.min(self.ready.len()));
        let mut bytes = 0usize;
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
            // Taken under a name we have lost since: it comes again by its new owner.
            let mut lanes = self.lanes.iter();
            if lanes.any(|lane| lane.queue.ledger.lock().current(token)) {
                bytes = bytes.saturating_add(size);
                taken.push(Delivery::new(token, message, &self.inbox));
            }
        }
        taken
    }

    async fn next(&mut self, room: Room) -> Result<Vec<Delivery>, BrokerError> {
        loop {
            let taken = self.take(room);
            if !taken.is_empty() {
                return Ok(taken);
            }
            for lane in &mut self.lanes {
                lane.ask(room);
            }
            let answers = self
                .lanes
                .iter_mut()
                .rev()
                .map(|lane| Box::pin(lane.answer()));
            let (fresh, _, _) = futures_util::future::select_all(answers).await;
            self.ready.extend(fresh?);
        }
    }
}

impl Source for QueueSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(self.next(room))
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.reading.cancel();
        Box::pin(async {})
    }
}
