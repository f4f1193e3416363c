//! Channels and patterns of channels: what is published reaches whoever listens at that moment, once or not at all.
//!
//! Every message is taken from the connection at once, because a server cuts off a listener that is slow (32 MB behind, or
//! 8 MB for a minute); what does not fit here is dropped and counted. Nothing can be given back: what is released is lost,
//! and counted with the others. A connection that was lost is made again with what it listened to; what was said meanwhile
//! nobody heard, and nobody can count.
//!
//! Every subscription hears everything: hosts do not share a channel. What is redriven comes by a list, as it does to lists.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::{Msg, RedisError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{Backoff, Endpoint, Part};
use super::envelope::{self, Known, Reading};
use super::publisher::now_ms;
use super::queue::{QueueSettler, QueueSource};
use super::wire::Kept;
use super::{Counters, RedisBroker};
use crate::commit::{Commit, Destination, Settlement};
use crate::delivery::{Delivery, Inbox, Token};
use crate::message::Message;
use crate::place::PlaceKind;
use crate::ports::{
    BrokerError, Committed, Room, Settle, SettleError, Settler, Source, Subscribed,
    SubscriptionSpec,
};

/// Most messages that wait to be handed over.
const MESSAGES: usize = 8192;
/// Most bytes of them; one message may exceed it.
const BYTES: usize = 32 << 20;
/// Between two lines in the log about messages that were lost.
const SILENCE: Duration = Duration::from_secs(5);
/// How often a connection that says nothing is asked whether it still works.
const PROBE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    ready: VecDeque<Message>,
    bytes: usize,
    /// Even numbers; odd ones belong to what is redriven.
    next: u64,
    /// When the log last spoke of losses.
    said: Option<Instant>,
}

/// One subscription to a channel or a pattern.
struct Ear {
    reading: Reading,
    pattern: bool,
    counters: Arc<Counters>,
    state: Mutex<State>,
    arrived: Notify,
}

impl Ear {
    fn lose(&self, count: usize, why: &str) {
        if count == 0 {
            return;
        }
        let before = self
            .counters
            .lost
            .fetch_add(count as u64, Ordering::Relaxed);
        let now = Instant::now();
        let mut state = self.state.lock();
        let silent = state
            .said
            .is_some_and(|said| now.duration_since(said) < SILENCE);
        if !silent {
            state.said = Some(now);
            let channel = &*self.reading.place;
            let lost = before + count as u64;
            tracing::warn!(channel, lost, why, "redis: messages are lost");
        }
    }

    fn heard(&self, channel: &str, value: Vec<u8>) {
        let reading = Reading {
            place: channel.into(),
            ..self.reading.clone()
        };
        let known = Known {
            position: ByteString::from(uuid::Uuid::now_v7().to_string()),
            stable: false,
            at_ms: now_ms(),
            // Nobody counts.
            kept: Kept::default(),
        };
        let message = envelope::read(Bytes::from(value), &reading, known);
        let size = message.size();
        let fits = {
            let mut state = self.state.lock();
            let room = state.ready.is_empty() || state.bytes.saturating_add(size) <= BYTES;
            let fits = state.ready.len() < MESSAGES && room;
            if fits {
                state.bytes += size;
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
            state.next += 2;
            taken.push(Delivery::new(Token(state.next), message, inbox));
        }
        taken
    }
}

/// Listens, on a connection of its own.
struct Listener {
    ear: Arc<Ear>,
    endpoint: Endpoint,
    part: Part,
    backoff: Backoff,
}

impl Listener {
    /// Runs until dropped.
    async fn run(mut self) {
        self.part.trouble("redis: not listening yet");
        loop {
            if let Err(error) = self.listen().await {
                self.part.trouble(&self.endpoint.error(&error).to_string());
            }
            self.backoff.wait().await;
        }
    }

    async fn listen(&mut self) -> Result<(), RedisError> {
        let (mut asks, mut said) = self.endpoint.listen().await?.split();
        let place = &*self.ear.reading.place;
        match self.ear.pattern {
            true => asks.psubscribe(place).await?,
            false => asks.subscribe(place).await?,
        }
        self.backoff.reset();
        self.part.well();
        let answer = self.endpoint.answer();
        let mut probe = tokio::time::interval(PROBE);
        let probing = async {
            loop {
                probe.tick().await;
                let answered = tokio::time::timeout(answer, asks.ping::<redis::Value>()).await;
                match answered {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return error,
                    Err(_) => return RedisError::from(std::io::Error::other("no answer")),
                }
            }
        };
        let hearing = async {
            while let Some(message) = said.next().await {
                self.ear.heard(&channel(&message), value(message));
            }
        };
        tokio::select! {
            error = probing => Err(error),
            () = hearing => Err(RedisError::from(std::io::Error::other("the connection ended"))),
        }
    }
}

/// The channel it was said on, as text; what is not UTF-8 as well as it can be.
fn channel(message: &Msg) -> String {
    let name: Vec<u8> = message.get_channel().unwrap_or_default();
    String::from_utf8_lossy(&name).into_owned()
}

fn value(message: Msg) -> Vec<u8> {
    message.get_payload().unwrap_or_default()
}

struct ChannelSource {
    ear: Arc<Ear>,
    inbox: Arc<Inbox>,
    redriven: QueueSource,
    stopping: CancellationToken,
    /// Ends listening when source and settler are both gone.
    _listening: Arc<DropGuard>,
}

impl Source for ChannelSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            loop {
                let taken = self.ear.take(room, &self.inbox);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                tokio::select! {
                    () = self.ear.arrived.notified() => {}
                    redriven = self.redriven.fetch(room) => return redriven,
                }
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.stopping.cancel();
        let left = {
            let mut state = self.ear.state.lock();
            state.bytes = 0;
            std::mem::take(&mut state.ready)
        };
        self.ear.lose(left.len(), "the host stops");
        self.redriven.stop()
    }
}

struct ChannelSettler {
    ear: Arc<Ear>,
    redriven: QueueSettler,
    _listening: Arc<DropGuard>,
}

impl Settler for ChannelSettler {
    fn atomic_with(&self, _: &Destination) -> bool {
        false
    }

    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        // Nothing is atomic here, so nobody asks.
        let fenced = SettleError::Fenced("outputs are not part of a settlement here".to_owned());
        let answers = vec![Committed::NotSettled(fenced); batch.len()];
        Box::pin(std::future::ready(answers))
    }

    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            let redriven = |settle: &&Settle| settle.token.0 % 2 == 1;
            let released =
                |settle: &&Settle| matches!(settle.settlement, Settlement::Release { .. });
            let own = batch.iter().filter(|settle| !redriven(settle));
            let lost = own.filter(released).count();
            self.ear.lose(
                lost,
                "they were given back, and there is nobody to keep them",
            );
            let again: Vec<Settle> = batch.iter().filter(redriven).copied().collect();
            if again.is_empty() {
                return vec![Ok(()); batch.len()];
            }
            let mut answers = self.redriven.settle(&again).await.into_iter();
            let mut answer = |settle: &Settle| match redriven(&settle) {
                true => answers.next().unwrap_or(Ok(())),
                false => Ok(()),
            };
            batch.iter().map(&mut answer).collect()
        })
    }
}

impl RedisBroker {
    /// Opens a subscription to a channel or a pattern.
    pub(super) fn start_channel(&self, spec: &SubscriptionSpec, inbox: Arc<Inbox>) -> Subscribed {
        let ear = Arc::new(Ear {
            reading: Reading {
                broker: Arc::clone(&self.options.name),
                subscription: Arc::clone(&spec.name),
                place: Arc::clone(&spec.address),
                group: Arc::clone(&spec.group),
            },
            pattern: spec.kind == PlaceKind::Pattern,
            counters: Arc::clone(&self.counters),
            state: Mutex::default(),
            arrived: Notify::new(),
        });
        let (redriven, settler) = self.start_redriven(spec, Arc::clone(&inbox));
        let stopping = self.closing.child_token();
        let listener = Listener {
            ear: Arc::clone(&ear),
            endpoint: self.endpoint.clone(),
            part: self.troubles.part(),
            backoff: Backoff::new(self.options.backoff.0, self.options.backoff.1),
        };
        tokio::spawn(stopping.clone().run_until_cancelled_owned(listener.run()));
        let listening = Arc::new(stopping.clone().drop_guard());
        Subscribed {
            source: Box::new(ChannelSource {
                ear: Arc::clone(&ear),
                inbox,
                redriven,
                stopping,
                _listening: Arc::clone(&listening),
            }),
            settler: Box::new(ChannelSettler {
                ear,
                redriven: settler,
                _listening: listening,
            }),
        }
    }
}
