//! What reads a subscription's stream: makes its consumers and asks them for messages.
//!
//! A connection that is lost takes nothing with it but the requests that stand: the consumers are asked again by the
//! next. What is in hand stays in hand.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::consumer::{self, Pulling};
use super::declare;
use super::ledger::Held;
use super::link::advised;
use super::pull::{EXPIRES, GRACE, Pull, Verdict};
use super::step::{Arrival, arrival};
use super::stream::{Fetched, Subscription};
use super::wire::parked::Parked;
use super::wire::{self, Beside, Place, Received};
use crate::broker::waiting::{Part, Tries};
use async_nats::jetstream::stream::Config as StreamConfig;

/// Between two looks whether an answer is overdue.
const LOOK: Duration = Duration::from_secs(1);
/// How long the server may take to say what there is.
const OPENING: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Worker {
    pub(super) sub: Arc<Subscription>,
    /// Streams to make where they are missing.
    pub(super) declared: Arc<Vec<StreamConfig>>,
    pub(super) part: Part,
    pub(super) tries: Tries,
    /// Cancelled once nothing more will be read.
    pub(super) stopped: CancellationToken,
    /// Nobody settles any more.
    pub(super) closing: CancellationToken,
}

/// One consumer being read.
struct Line {
    own: bool,
    consumer: Pulling,
    inbox: String,
    messages: Subscriber,
    pull: Pull,
    /// Nothing more comes: given up at a stop, and what was on its way has come.
    ended: bool,
}

impl Line {
    /// Nothing is on its way.
    fn idle(&self) -> bool {
        self.ended || self.pull.idle()
    }
}

/// How reading came to its end.
enum End {
    /// The connection is another one.
    Reconnected,
    /// Something is wrong, in words.
    Broke(String),
    /// It is not wanted any more.
    Closed,
}

impl Worker {
    pub(super) async fn run(mut self) {
        let (stopping, closing) = (self.sub.stopping.clone(), self.closing.clone());
        loop {
            let connected = tokio::select! {
                connected = self.sub.link.connected() => connected,
                () = stopping.cancelled() => break,
                () = closing.cancelled() => break,
            };
            let reason = match Box::pin(self.once(connected.0, connected.1)).await {
                End::Closed => break,
                End::Reconnected => continue,
                End::Broke(reason) => reason,
            };
            self.part.trouble(&reason);
            let wait = self.tries.failed(fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopping.cancelled() => break,
                () = closing.cancelled() => break,
            }
        }
        self.stopped.cancel();
    }

    /// Reads by one connection.
    async fn once(&mut self, client: Client, number: u64) -> End {
        let opening = tokio::time::timeout(OPENING, self.open(&client));
        let link = Arc::clone(&self.sub.link);
        let opened = tokio::select! {
            opened = opening => opened,
            () = link.another(number) => return End::Reconnected,
            () = self.closing.cancelled() => return End::Closed,
        };
        let mut lines = match opened {
            Ok(Ok(lines)) => lines,
            Ok(Err(reason)) => return End::Broke(advised(format!("nats: {reason}"))),
            Err(_) => {
                let stream = &self.sub.source.source;
                return End::Broke(format!("nats: no answer about stream {stream}"));
            }
        };
        self.part.well();
        let end = self.read(&mut lines, number).await;
        // What has come by now is in hand: it would come again only after the server's patience.
        for line in &mut lines {
            while let Some(Some(message)) =
                futures_util::FutureExt::now_or_never(line.messages.next())
            {
                if self.came(line.own, &mut line.pull, message).await.is_err() {
                    break;
                }
            }
        }
        end
    }

    async fn open(&self, client: &Client) -> Result<[Line; 2], String> {
        let context = async_nats::jetstream::new(client.clone());
        for wanted in &*self.declared {
            declare::ensure(&context, wanted).await?;
        }
        let name = &*self.sub.source.source;
        let there = declare::find(&context, name).await?.ok_or_else(|| {
            format!("there is no stream {name}: make it, or name it under `declare.streams`")
        })?;
        let waiting = declare::waiting(
            &self.sub.source.subscription,
            &self.sub.plugin,
            &there.config,
        );
        let own = declare::ensure(&context, &waiting).await?;
        let lines = [
            self.line(&context, client, false).await?,
            self.line(&context, client, true).await?,
        ];
        let made = [&there, &own].map(|stream| stream.created.unix_timestamp_nanos());
        self.sub.sure(made);
        for line in &lines {
            let delivered = line.consumer.cached_info().delivered.stream_sequence;
            self.sub.forgotten(line.own, delivered);
        }
        Ok(lines)
    }

    async fn line(&self, context: &Context, client: &Client, own: bool) -> Result<Line, String> {
        let consumer = consumer::ensure(context, &self.sub.consumers[usize::from(own)]).await?;
        let inbox = client.new_inbox();
        let messages = client.subscribe(inbox.clone()).await;
        Ok(Line {
            own,
            consumer,
            inbox,
            messages: messages.map_err(|e| e.to_string())?,
            pull: Pull::new(Instant::now()),
            ended: false,
        })
    }

    async fn read(&mut self, lines: &mut [Line; 2], number: u64) -> End {
        let sub = Arc::clone(&self.sub);
        let (stopping, closing) = (sub.stopping.clone(), self.closing.clone());
        let another = sub.link.another(number);
        tokio::pin!(another);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            if stopping.is_cancelled() {
                let now = Instant::now();
                if last.is_none() {
                    // What this host parks from now on is for the next one: brought here it would come again from here, counted.
                    let [_, own] = &mut *lines;
                    own.ended = own.messages.drain().await.is_err();
                }
                let until = *last.get_or_insert(now + EXPIRES + GRACE);
                if now >= until || lines.iter().all(Line::idle) {
                    return End::Closed;
                }
            } else {
                for line in lines.iter_mut() {
                    if let Err(reason) = ask(&sub, line).await {
                        return End::Broke(reason);
                    }
                }
            }
            let [source, own] = lines;
            let (own_line, message) = tokio::select! {
                biased;
                () = closing.cancelled() => return End::Closed,
                () = &mut another => return End::Reconnected,
                _ = look.tick() => {
                    let now = Instant::now();
                    let overdue = |line: &&&mut Line| !line.ended && line.pull.overdue(now);
                    if [&source, &own].iter().any(overdue) {
                        let stream = &sub.source.source;
                        return End::Broke(format!("nats: no answer from the consumers of stream {stream}"));
                    }
                    continue;
                }
                message = own.messages.next(), if !own.ended => (true, message),
                message = source.messages.next() => (false, message),
                () = sub.taken.notified() => continue,
                () = stopping.cancelled(), if last.is_none() => continue,
            };
            let Some(message) = message else {
                if own_line && last.is_some() {
                    own.ended = true;
                    continue;
                }
                return End::Broke("nats: a subscription of ours came to its end".to_owned());
            };
            self.tries.worked();
            let line = if own_line { own } else { source };
            if let Err(reason) = self.came(own_line, &mut line.pull, message).await {
                return End::Broke(reason);
            }
        }
    }

    /// Something came for one of the consumers.
    async fn came(
        &self,
        own: bool,
        pull: &mut Pull,
        message: async_nats::Message,
    ) -> Result<(), String> {
        let now = Instant::now();
        if let Some(status) = message.status
            && status.as_u16() != 200
        {
            let left = message
                .headers
                .as_ref()
                .and_then(|headers| headers.get("Nats-Pending-Messages")?.as_str().parse().ok());
            let description = message.description.as_deref().unwrap_or_default();
            return match pull.said(status.as_u16(), description, left, now) {
                Verdict::GoOn => Ok(()),
                Verdict::Rebuild(said) => {
                    self.sub.unsure();
                    let stream = &self.sub.consumers[usize::from(own)].stream;
                    Err(format!("nats: the consumer of stream {stream}: {said}"))
                }
            };
        }
        pull.came(now);
        let mut received = Received::new(message);
        let Some(reply) = received.reply.take() else {
            return Ok(());
        };
        received.place = place(&reply);
        self.arrived(own, reply, received).await;
        Ok(())
    }

    async fn arrived(&self, own: bool, reply: bytestring::ByteString, received: Received) {
        let sub = &self.sub;
        let now_ms = sub.clock.now_ms();
        let parked = Parked::of(&received, own);
        let delivered = received.place.as_ref().map_or(1, |p| p.delivered);
        let fate = arrival(parked.as_ref(), delivered, now_ms);
        let mut held = Held {
            reply,
            received: Arc::new(received),
            own,
            deliveries: 0,
            told: Instant::now(),
            forgotten: false,
        };
        match fate {
            Arrival::Wait(wait) => {
                let nak = format!("-NAK {{\"delay\":{}}}", wait.as_nanos());
                sub.tell(&held.reply, nak.into()).await;
            }
            Arrival::Again(deliveries) => {
                let beside = Parked {
                    deliveries,
                    ..parked.unwrap_or_default()
                };
                let Some(token) = sub.took(held.clone()) else {
                    return;
                };
                match sub.publish(&held, beside).await {
                    // A server that was killed may not answer before it has delivered it again, and nobody else asks for
                    // this one: kept in hand without end, it would stay pending without end.
                    Ok(()) => sub.insist(token),
                    // It comes again.
                    Err(_) => sub.done(token),
                }
            }
            Arrival::Hand(deliveries) => {
                held.deliveries = deliveries.saturating_sub(1);
                let beside = Beside { now_ms, deliveries };
                let message =
                    wire::read(&held.received, sub.reading(own), beside, Default::default);
                if let Some(token) = sub.took(held) {
                    sub.ready(Fetched {
                        token,
                        message,
                        own,
                    });
                }
            }
        }
    }
}

/// Asks a consumer for as much as there is room for.
async fn ask(sub: &Subscription, line: &mut Line) -> Result<(), String> {
    let room = sub.room(line.own);
    let Some(ask) = line.pull.ask(room, Instant::now()) else {
        return Ok(());
    };
    let request = BatchConfig {
        batch: ask.messages,
        max_bytes: ask.bytes.unwrap_or(0),
        expires: Some(EXPIRES),
        ..BatchConfig::default()
    };
    let inbox = line.inbox.clone().into();
    let asked = line.consumer.request_batch(request, inbox).await;
    asked.map_err(|e| format!("nats: {e}"))
}

/// What the subject says on which a stream's message is acknowledged:
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`, with domain and account
/// after `ACK` on newer servers.
fn place(reply: &str) -> Option<Place> {
    let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let words = match words.len() {
        7 => &words[..],
        9.. => &words[2..],
        _ => return None,
    };
    Some(Place {
        stream: words[0].to_owned().into(),
        delivered: words[2].parse().ok()?,
        sequence: words[3].parse().ok()?,
        published_ns: words[5].parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_an_acknowledgement_says_where_a_message_stands() {
        let here = Place {
            stream: "ORDERS".into(),
            sequence: 100,
            published_ns: 1_790_230_470_084_404_000,
            delivered: 3,
        };
        let old = "$JS.ACK.ORDERS.billing.3.100.7.1790230470084404000.42";
        assert_eq!(place(old), Some(here.clone()));
        let new = "$JS.ACK._.abcd.ORDERS.billing.3.100.7.1790230470084404000.42";
        assert_eq!(place(new), Some(here.clone()));
        let newer = "$JS.ACK.hub.abcd.ORDERS.billing.3.100.7.1790230470084404000.42.x.y";
        assert_eq!(place(newer), Some(here));
        for other in [
            "",
            "_INBOX.a.b",
            "$JS.ACK.ORDERS.billing.3",
            "$JS.ACK.a.b.c.d.e.f.g",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
