//! Channels and patterns of channels: what is published reaches whoever listens at that moment, once or not at all.
//!
//! Every message is taken from the connection at once, because a server cuts off a listener that is slow (32 MB behind, or
//! 8 MB for a minute), into [`heard`](crate::broker::heard). A connection that was lost is made again with what it listened to; what was said meanwhile
//! nobody heard, and nobody can count.
//!
//! Every subscription hears everything: hosts do not share a channel. What is redriven comes by a list, as it does to lists.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use redis::{Msg, RedisError};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::RedisBroker;
use super::connection::{Backoff, Endpoint, Part};
use super::envelope::{self, Known, Reading};
use super::publisher::now_ms;
use super::queue::{QueueSettler, QueueSource};
use super::wire::Kept;
use crate::broker::heard::Heard;
use crate::delivery::{Delivery, Inbox};
use crate::place::PlaceKind;
use crate::ports::{
    BrokerError, Room, Settle, SettleError, Settler, Source, Subscribed, SubscriptionSpec,
};

/// How often a connection that says nothing is asked whether it still works.
const PROBE: Duration = Duration::from_secs(1);

/// One subscription to a channel or a pattern.
struct Ear {
    reading: Reading,
    pattern: bool,
    heard: Heard,
}

impl Ear {
    fn hear(&self, channel: &str, value: Vec<u8>) {
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
        let read = |value| envelope::read(Bytes::from(value), &reading, known);
        self.heard.add(value.len(), || read(value));
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
                self.ear.hear(&channel(&message), value(message));
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
            tokio::select! {
                taken = self.ear.heard.take(room, &self.inbox) => Ok(taken),
                redriven = self.redriven.fetch(room) => redriven,
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        self.stopping.cancel();
        self.ear.heard.stop();
        self.redriven.stop()
    }
}

struct ChannelSettler {
    ear: Arc<Ear>,
    redriven: QueueSettler,
    _listening: Arc<DropGuard>,
}

impl Settler for ChannelSettler {
    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            let redriven = |settle: &&Settle| settle.token.0 % 2 == 1;
            self.ear
                .heard
                .settled(batch.iter().filter(|settle| !redriven(settle)));
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
            heard: Heard::new(
                "redis",
                Arc::clone(&spec.address),
                Arc::clone(&self.counters.lost),
            ),
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
