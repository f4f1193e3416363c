//! A subscription to a stream, as its parts see it: the worker that reads ([`worker`](super::worker)), the source that
//! hands over, the settler. What they share is under one lock, never held across an await.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Request;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::consumer::Wanted;
use super::declare;
use super::ledger::{Held, Ledger};
use super::link::{ANSWER, Link, Unanswered};
use super::step;
use super::wire::parked::Parked;
use super::wire::{self, MESSAGE_ID, Reading};
use crate::config::nats::Nats;
use crate::delivery::Token;
use crate::message::Message;
use crate::ports::{Clock, SettleError, SubscriptionSpec};

/// Requests under way at once.
pub(super) const AT_ONCE: usize = 256;

/// How long the server may take to confirm a settlement before it is asked again.
const SETTLED: Duration = Duration::from_secs(2);
/// Before what was not answered is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// A message that was read and not handed over.
pub(super) struct Fetched {
    pub(super) token: Token,
    pub(super) message: Message,
    /// It came from the subscription's own subject.
    pub(super) own: bool,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    ready: VecDeque<Fetched>,
    /// How many of `ready` came from where: the source, the own subject.
    waiting: [usize; 2],
    /// When the two streams were made, in nanoseconds.
    made: [Option<i128>; 2],
    /// A consumer was lost, and its stream may be another one by now: nothing is settled until that is known. The server
    /// knows a message by its number alone, and a stream that is made again counts from 1.
    unsure: bool,
}

/// See the module.
pub(super) struct Subscription {
    pub(super) source: Reading,
    pub(super) own: Reading,
    pub(super) consumers: [Wanted; 2],
    pub(super) retry: String,
    pub(super) plugin: Arc<str>,
    /// How many messages of each consumer may wait here.
    pub(super) prefetch: [usize; 2],
    pub(super) link: Arc<Link>,
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// Something was read.
    pub(super) arrived: Notify,
    /// Something was handed over.
    pub(super) taken: Notify,
    /// The server has forgotten something.
    forgot: Notify,
    /// No more will be fetched.
    pub(super) stopping: CancellationToken,
    /// Nobody settles any more.
    closing: CancellationToken,
}

impl Subscription {
    pub(super) fn new(
        broker: &Arc<str>,
        spec: &SubscriptionSpec,
        config: &Nats,
        link: Arc<Link>,
        clock: Clock,
        closing: CancellationToken,
    ) -> Self {
        let reading = |own| Reading {
            broker: Arc::clone(broker),
            subscription: Arc::clone(&spec.name),
            source: Arc::clone(&spec.address),
            group: Arc::clone(&spec.group),
            own,
        };
        let retry_stream = declare::retry_stream(&spec.name, &spec.plugin);
        let prefetch = spec.prefetch.max(1);
        Self {
            source: reading(false),
            own: reading(true),
            consumers: [
                Wanted::source(spec, config.ack_wait, config.max_ack_pending),
                Wanted::own(spec, retry_stream, config.ack_wait),
            ],
            retry: declare::retry_subject(&spec.name, &spec.plugin),
            plugin: Arc::clone(&spec.plugin),
            prefetch: [prefetch, prefetch.div_ceil(4)],
            link,
            clock,
            state: Mutex::default(),
            arrived: Notify::new(),
            taken: Notify::new(),
            forgot: Notify::new(),
            stopping: CancellationToken::new(),
            closing,
        }
    }

    pub(super) fn reading(&self, own: bool) -> &Reading {
        if own { &self.own } else { &self.source }
    }

    /// A message was delivered; `None` where it is in hand already.
    pub(super) fn took(&self, held: Held) -> Option<Token> {
        self.state.lock().ledger.took(held)
    }

    /// It can be handed over.
    pub(super) fn ready(&self, fetched: Fetched) {
        {
            let mut state = self.state.lock();
            state.waiting[usize::from(fetched.own)] += 1;
            state.ready.push_back(fetched);
        }
        self.arrived.notify_one();
    }

    /// A consumer says that it has delivered no further than to here. A server that was killed forgets what it delivered last,
    /// delivers it again, and until then does not answer to what is said of it. What of that waits here gives its place up,
    /// so that it can come again; what is in hand is noted, see [`acknowledge`](Self::acknowledge).
    pub(super) fn forgotten(&self, own: bool, delivered: u64) {
        let mut state = self.state.lock();
        let State {
            ledger,
            ready,
            waiting,
            ..
        } = &mut *state;
        ready.retain(|fetched| {
            let beyond = |sequence| sequence > delivered;
            let goes = fetched.own == own && ledger.sequence(fetched.token).is_some_and(beyond);
            if goes {
                ledger.done(fetched.token);
                waiting[usize::from(own)] -= 1;
            }
            !goes
        });
        ledger.forgotten(own, delivered);
        self.forgot.notify_waiters();
    }

    /// The next one to hand over, if `fits` takes it.
    pub(super) fn next(&self, fits: impl FnOnce(&Message) -> bool) -> Option<Fetched> {
        let mut state = self.state.lock();
        if !fits(&state.ready.front()?.message) {
            return None;
        }
        let fetched = state.ready.pop_front()?;
        state.waiting[usize::from(fetched.own)] -= 1;
        Some(fetched)
    }

    /// A consumer is lost.
    pub(super) fn unsure(&self) {
        self.state.lock().unsure = true;
    }

    /// Its streams are these, made then. Of one that is another than before nothing can be settled any more.
    pub(super) fn sure(&self, made: [i128; 2]) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for (own, made) in [(false, made[0]), (true, made[1])] {
            let which = usize::from(own);
            if state.made[which]
                .replace(made)
                .is_some_and(|old| old != made)
            {
                let lost = state.ledger.forget(own);
                state.ready.retain(|fetched| fetched.own != own);
                state.waiting[which] = 0;
                let stream = &self.consumers[which].stream;
                tracing::warn!(stream, lost, "nats: a stream is another one than before");
            }
        }
        state.unsure = false;
    }

    /// How many more messages of a consumer may come.
    pub(super) fn room(&self, own: bool) -> usize {
        let which = usize::from(own);
        self.prefetch[which].saturating_sub(self.state.lock().waiting[which])
    }

    pub(super) fn held(&self, token: Token) -> Option<Held> {
        self.state.lock().ledger.held(token).cloned()
    }

    pub(super) fn done(&self, token: Token) {
        self.state.lock().ledger.done(token);
    }

    /// Asks for more time for all that waits or runs, until `closing`. No message is silent for longer than a third of
    /// `ack_wait`.
    pub(super) async fn keep_alive(
        self: Arc<Self>,
        ack_wait: Duration,
        closing: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(ack_wait / 12);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while closing.run_until_cancelled(ticks.tick()).await.is_some() {
            let silent = self
                .state
                .lock()
                .ledger
                .silent(Instant::now(), ack_wait / 4);
            for reply in silent {
                self.tell(&reply, Bytes::from_static(b"+WPI")).await;
            }
        }
    }

    /// Says something without waiting for an answer.
    pub(super) async fn tell(&self, reply: &str, what: Bytes) {
        if let Some(client) = self.link.client() {
            drop(client.publish(reply.to_owned(), what).await);
        }
    }

    /// Acknowledges one message and waits until the server has. Not where the server has forgotten its delivery: that it
    /// delivers it again may wait for a place which only this one's end makes free. It is done with, is not handed over when it
    /// comes again, and is acknowledged then.
    pub(super) async fn acknowledge(self: &Arc<Self>, token: Token) -> Result<(), SettleError> {
        tokio::select! {
            biased;
            () = self.until_forgotten(token) => {
                self.insist(token);
                Ok(())
            }
            answer = self.confirm(token) => answer,
        }
    }

    /// Returns when the server does not know that it delivered this one; never, where it does.
    async fn until_forgotten(&self, token: Token) {
        loop {
            let forgot = self.forgot.notified();
            if self.state.lock().ledger.is_forgotten(token) {
                return;
            }
            forgot.await;
        }
    }

    /// Acknowledges one message by and by: until the server has, or nobody settles any more.
    pub(super) fn insist(self: &Arc<Self>, token: Token) {
        let (sub, closing) = (Arc::clone(self), self.closing.clone());
        tokio::spawn(closing.run_until_cancelled_owned(async move {
            while let Err(SettleError::Unavailable(_)) = sub.confirm(token).await {
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    async fn confirm(&self, token: Token) -> Result<(), SettleError> {
        if self.state.lock().unsure {
            let why = "nats: a consumer was lost and is looked for".to_owned();
            return Err(SettleError::Unavailable(why));
        }
        let Some(held) = self.held(token) else {
            return Err(gone());
        };
        let request = || Request::new().payload(Bytes::from_static(b"+ACK"));
        match self.link.request(&held.reply, SETTLED, request).await {
            Ok(_) => {
                self.done(token);
                Ok(())
            }
            Err(Unanswered::Nobody) => {
                self.done(token);
                Err(gone())
            }
            Err(Unanswered::Unavailable(why) | Unanswered::TooLarge(why)) => {
                Err(SettleError::Unavailable(why))
            }
        }
    }

    /// Publishes one message to the subscription's own subject, then acknowledges it.
    pub(super) async fn park(
        self: &Arc<Self>,
        token: Token,
        after: Option<Duration>,
        attempts: u32,
        first_failed_ms: Option<u64>,
    ) -> Result<(), SettleError> {
        let Some(held) = self.held(token) else {
            return Err(gone());
        };
        let beside = Parked {
            attempts,
            first_failed_ms,
            deliveries: held.deliveries,
            due_ms: step::due(after, self.clock.now_ms()),
            ..Parked::default()
        };
        self.publish(&held, beside).await?;
        self.acknowledge(token).await
    }

    /// Publishes a message to the subscription's own subject.
    pub(super) async fn publish(&self, held: &Held, beside: Parked) -> Result<(), SettleError> {
        let received = &held.received;
        let mut headers = beside.headers(received, held.own);
        if let Some(place) = &received.place {
            // The same at a repeat of this, and of nothing else: a stream that is made again counts from 1.
            let id = format!("{}/{}/{}", place.stream, place.sequence, place.published_ns);
            headers.push((MESSAGE_ID.to_owned(), id));
        }
        let headers = wire::map(headers);
        let request = || {
            Request::new()
                .headers(headers.clone())
                .payload(received.payload.clone())
        };
        let unavailable = |why: String| SettleError::Unavailable(format!("{}: {why}", self.retry));
        match self.link.request(&self.retry, ANSWER, request).await {
            Ok(answer) => match serde_json::from_slice::<Response<PublishAck>>(&answer.payload) {
                Ok(Response::Ok(_)) => Ok(()),
                Ok(Response::Err { error }) => Err(unavailable(error.to_string())),
                Err(_) => Err(unavailable("no stream answers there".to_owned())),
            },
            Err(Unanswered::Nobody) => Err(unavailable("no stream holds it".to_owned())),
            Err(Unanswered::Unavailable(why) | Unanswered::TooLarge(why)) => Err(unavailable(why)),
        }
    }

    /// What was read and never handed over goes where every host finds it, without counting as a delivery.
    pub(super) async fn leave(self: &Arc<Self>) {
        let mut left = Vec::new();
        while let Some(fetched) = self.next(|_| true) {
            left.push(fetched);
        }
        let parked = stream::iter(left).map(|fetched| {
            let Fetched { token, message, .. } = fetched;
            self.park(token, None, message.attempts, message.first_failed_ms)
        });
        // What could not be parked comes again when the server's patience is over.
        let results: Vec<_> = parked.buffer_unordered(AT_ONCE).collect().await;
        let lost = results.iter().filter(|r| r.is_err()).count();
        if lost > 0 {
            tracing::warn!(
                stream = &*self.source.source,
                messages = lost,
                "nats: read and not given back: they come again after ack_wait"
            );
        }
    }
}

fn gone() -> SettleError {
    SettleError::Fenced("nats: its stream or its consumer is gone".to_owned())
}
