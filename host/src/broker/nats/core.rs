//! Subjects outside of streams: what is published reaches whoever listens at that moment, once or not at all.
//!
//! The client drops what nobody takes, and says so once for each message in a queue of bounded length; so the count would
//! be too low just when it matters. Here every message is taken from it at once, and what does not fit is dropped and counted
//! here. Nothing can be given back: what is released is lost, and counted with the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Client, Request};
use bytestring::ByteString;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::link::Link;
use super::wire::{self, Beside, Reading, Received};
use crate::broker::waiting::Part;
use crate::commit::{Commit, Destination, Settlement};
use crate::delivery::{Delivery, Inbox, Token};
use crate::message::Message;
use crate::ports::{
    BrokerError, Clock, Committed, Room, Settle, SettleError, Settler, Source, SubscriptionSpec,
};

/// Most messages that wait to be handed over.
const MESSAGES: usize = 8192;
/// Most bytes of them.
const BYTES: usize = 32 << 20;
/// Between two lines in the log about messages that were lost.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the server may take to answer that it knows of a subscription, where it may answer.
const HEARD: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    ready: VecDeque<Message>,
    bytes: usize,
    next: u64,
    /// When the log last spoke of losses.
    said: Option<Instant>,
}

/// One subscription to a subject.
pub(super) struct CoreSubscription {
    pub(super) reading: Reading,
    link: Arc<Link>,
    clock: Clock,
    state: Mutex<State>,
    arrived: Notify,
    /// Messages that nobody will handle any more.
    lost: AtomicU64,
    stopping: CancellationToken,
}

impl CoreSubscription {
    pub(super) fn new(
        broker: &Arc<str>,
        spec: &SubscriptionSpec,
        link: Arc<Link>,
        clock: Clock,
    ) -> Self {
        Self {
            reading: Reading {
                broker: Arc::clone(broker),
                subscription: Arc::clone(&spec.name),
                source: Arc::clone(&spec.address),
                group: Arc::clone(&spec.group),
                own: false,
            },
            link,
            clock,
            state: Mutex::default(),
            arrived: Notify::new(),
            lost: AtomicU64::new(0),
            stopping: CancellationToken::new(),
        }
    }

    /// Messages that wait here.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Messages that were lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lose(&self, count: usize, why: &str) {
        if count == 0 {
            return;
        }
        let all = self.lost.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        let now = Instant::now();
        let mut state = self.state.lock();
        if state
            .said
            .is_none_or(|said| now.duration_since(said) >= SILENCE)
        {
            state.said = Some(now);
            let subject = &*self.reading.source;
            tracing::warn!(subject, lost = all, why, "nats: messages are lost");
        }
    }

    /// Reads until it is stopped.
    pub(super) async fn run(self: Arc<Self>, part: Part, closing: CancellationToken) {
        loop {
            let connected = tokio::select! {
                connected = self.link.connected() => connected,
                () = self.stopping.cancelled() => return,
                () = closing.cancelled() => return,
            };
            let (client, _) = connected;
            tokio::select! {
                reason = self.read(&client, &part) => part.trouble(&reason),
                () = self.stopping.cancelled() => return,
                () = closing.cancelled() => return,
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The client subscribes again by itself when it connects again; this ends with the client.
    async fn read(&self, client: &Client, part: &Part) -> String {
        let subject = self.reading.source.to_string();
        let group = self.reading.group.to_string();
        let messages = client.queue_subscribe(subject, group).await;
        let mut messages = match messages {
            Ok(messages) => messages,
            Err(error) => return format!("nats: {}: {error}", self.reading.source),
        };
        arrived(client).await;
        part.well();
        while let Some(message) = messages.next().await {
            self.took(message);
        }
        format!("nats: the subscription to {} ended", self.reading.source)
    }

    fn took(&self, message: async_nats::Message) {
        let received = Received::new(message);
        let size = received.size();
        let beside = Beside {
            now_ms: self.clock.now_ms(),
            // Nobody counts.
            deliveries: 0,
        };
        let fits = {
            let mut state = self.state.lock();
            let fits = state.ready.len() < MESSAGES && state.bytes.saturating_add(size) <= BYTES;
            if fits {
                let mint = || ByteString::from(uuid::Uuid::now_v7().to_string());
                let message = wire::read(&received, &self.reading, beside, mint);
                state.bytes += message.size();
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

    fn take(&self, room: Room, inbox: &Arc<Inbox>) -> Vec<Delivery> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        let mut bytes = 0_usize;
        while taken.len() < room.messages
            && let Some(message) = state.ready.front()
        {
            let size = message.size();
            bytes = bytes.saturating_add(size);
            if !taken.is_empty() && bytes > room.bytes {
                break;
            }
            let Some(message) = state.ready.pop_front() else {
                break;
            };
            state.bytes = state.bytes.saturating_sub(size);
            state.next += 1;
            taken.push(Delivery::new(Token(state.next), message, inbox));
        }
        taken
    }
}

/// Waits until the server has what was written so far: it says of a subject of nobody's at once that nobody is there. What is
/// published from then on is not missed.
async fn arrived(client: &Client) {
    let nobody = Request::new().timeout(Some(HEARD));
    drop(client.send_request(client.new_inbox(), nobody).await);
}

pub(super) struct CoreSource {
    pub(super) sub: Arc<CoreSubscription>,
    pub(super) inbox: Arc<Inbox>,
    /// Ends the reading when source and settler are both gone.
    pub(super) _worker: Arc<DropGuard>,
}

impl Source for CoreSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            loop {
                let taken = self.sub.take(room, &self.inbox);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                self.sub.arrived.notified().await;
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.sub.stopping.cancel();
            let left = {
                let mut state = self.sub.state.lock();
                state.bytes = 0;
                std::mem::take(&mut state.ready)
            };
            self.sub.lose(left.len(), "the host stops");
        })
    }
}

pub(super) struct CoreSettler {
    pub(super) sub: Arc<CoreSubscription>,
    pub(super) _worker: Arc<DropGuard>,
}

impl Settler for CoreSettler {
    fn atomic_with(&self, _: &Destination) -> bool {
        false
    }

    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        // Nothing is atomic here, so only commits without outputs come this way.
        Box::pin(async move {
            let settles: Vec<Settle> = batch.iter().map(|commit| Settle::from(*commit)).collect();
            let settled = self.settle(&settles).await;
            let committed = settled.into_iter().map(|result| match result {
                Ok(()) => Committed::Done,
                Err(error) => Committed::NotSettled(error),
            });
            committed.collect()
        })
    }

    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        let released = |s: &&Settle| matches!(s.settlement, Settlement::Release { .. });
        let lost = batch.iter().filter(released).count();
        self.sub.lose(
            lost,
            "they were given back, and there is nobody to keep them",
        );
        Box::pin(std::future::ready(vec![Ok(()); batch.len()]))
    }
}
