//! The connection by which all is published: outputs, dead letters, and messages that are to wait.
//!
//! It is apart from those of the subscriptions: the server stops reading from a connection that publishes when it runs
//! short of memory or disk, and would not take acknowledgements by it either. On it are a few channels, each of which
//! publishes one batch at a time ([`confirm`]). An exchange that does not exist closes the channel it is
//! published to by and takes what else is on the way with it; so exchanges are asked for first, by a channel that is
//! opened for the question.
//!
//! It also makes what is declared, before anything is published by it, and again when something is missed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Event, ExchangeKind};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::confirm::{self, Outcome, Publish};
use super::connect::{Endpoint, Trouble, no_answer, reply_code, told, within};
use super::declare::{self, Declaration, MISSING, Piece};
use super::link::{Pace, Tries};
use crate::broker::waiting::Part;

/// How many batches are on the way at once.
const CHANNELS: usize = 8;
/// How long the server may take to confirm a batch.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to make what is declared.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// Between two tries to make what is declared.
const AGAIN: Duration = Duration::from_secs(5);

/// A connection that works.
pub(super) struct Live {
    pub(super) connection: Connection,
    channels: [tokio::sync::Mutex<Option<Channel>>; CHANNELS],
    /// Exchanges, and queues of the host's own, that were there.
    exchanges: Mutex<HashSet<ShortString>>,
    queues: Mutex<HashSet<ShortString>>,
    /// To be given up: something on it broke.
    broken: CancellationToken,
}

/// See the module.
pub(super) struct Outlet {
    endpoint: Endpoint,
    part: Part,
    /// What the configuration declares.
    declared: Vec<Piece>,
    /// Queues of the host's own beside it: those of dead letters.
    own: Mutex<BTreeMap<String, Declaration>>,
    live: watch::Sender<Option<Arc<Live>>>,
    /// Something was missing that may be ours to make.
    missing: Notify,
    /// What exists otherwise than it is declared, and was told.
    told: Mutex<BTreeSet<String>>,
}

impl Outlet {
    pub(super) fn new(endpoint: Endpoint, part: Part, declared: Vec<Piece>) -> Self {
        Self {
            endpoint,
            part,
            declared,
            own: Mutex::default(),
            live: watch::Sender::new(None),
            missing: Notify::new(),
            told: Mutex::default(),
        }
    }

    /// Sees to a queue of the host's own from now on. One that the configuration declares is made as it says.
    pub(super) fn own(&self, queue: Declaration) {
        let declared = |piece: &Piece| matches!(piece, Piece::Queue(q) if q.name == queue.name);
        if self.declared.iter().any(declared) {
            return;
        }
        let name = queue.name.to_string();
        if self.own.lock().insert(name, queue).is_none() {
            self.missing.notify_one();
        }
    }

    /// The connection, where there is one that takes messages; otherwise what stands in the way.
    pub(super) fn live(&self) -> Result<Arc<Live>, String> {
        let live = self.live.borrow().clone();
        live.filter(|live| !live.connection.status().blocked())
            .ok_or_else(|| self.why_not())
    }

    /// What stands in the way just now.
    pub(super) fn why_not(&self) -> String {
        let reason = self.part.now();
        reason.unwrap_or_else(|| "rabbitmq: not connected".to_owned())
    }

    /// Waits until it is connected; answers what stands in the way where it takes longer than `within`.
    pub(super) async fn connected(&self, within: Duration) -> Result<Arc<Live>, String> {
        let mut live = self.live.subscribe();
        let found = tokio::time::timeout(within, live.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(live)) => live.clone().ok_or_else(|| self.why_not()),
            _ => Err(self.why_not()),
        }
    }

    /// Keeps a connection until `closing`, also where nothing is published, so that health is known.
    pub(super) async fn keep(self: Arc<Self>, mut tries: Tries, closing: CancellationToken) {
        loop {
            let connected = closing.run_until_cancelled(self.endpoint.connect("publishes"));
            let trouble = match connected.await {
                None => return,
                Some(Ok(connection)) => match self.use_up(connection, &mut tries, &closing).await {
                    Some(trouble) => trouble,
                    None => return,
                },
                Some(Err(trouble)) => trouble,
            };
            self.part.trouble(&trouble.reason);
            let wait = tries.failed(trouble.pace, fastrand::f64());
            let waited = closing.run_until_cancelled(tokio::time::sleep(wait));
            if waited.await.is_none() {
                return;
            }
        }
    }

    /// Until it breaks, or nothing more is to come (`None`).
    async fn use_up(
        &self,
        connection: Connection,
        tries: &mut Tries,
        closing: &CancellationToken,
    ) -> Option<Trouble> {
        let live = Arc::new(Live {
            connection,
            channels: Default::default(),
            exchanges: Mutex::default(),
            queues: Mutex::default(),
            broken: CancellationToken::new(),
        });
        let trouble = self.serve(&live, tries, closing).await;
        self.live.send_replace(None);
        // Whoever waits for an answer is told; the client does not always.
        live.broken.cancel();
        let bye = live.connection.close(200, "done".into());
        drop(tokio::time::timeout(GOODBYE, bye).await);
        trouble
    }

    async fn serve(
        &self,
        live: &Arc<Live>,
        tries: &mut Tries,
        closing: &CancellationToken,
    ) -> Option<Trouble> {
        let events = live.connection.events_listener();
        tokio::pin!(events);
        let at = &self.endpoint.at;
        let soon = |reason: &str| {
            Some(Trouble {
                reason: format!("rabbitmq at {at}: {reason}"),
                pace: Pace::Soon,
            })
        };
        let made = closing.run_until_cancelled(self.make(live)).await?;
        let mut problem = match made {
            Ok(problem) => problem,
            Err(trouble) => return Some(trouble),
        };
        let mut made_at = Instant::now();
        let mut again = problem.is_some();
        let mut blocked: Option<String> = None;
        self.live.send_replace(Some(Arc::clone(live)));
        tries.worked();
        loop {
            match blocked.as_ref().or(problem.as_ref()) {
                Some(reason) => self.part.trouble(reason),
                None => self.part.well(),
            }
            tokio::select! {
                () = closing.cancelled() => return None,
                () = live.broken.cancelled() => return soon("no confirmation"),
                () = self.missing.notified() => again = true,
                // What it would be asked now it would not read.
                () = tokio::time::sleep_until(made_at + AGAIN), if again && blocked.is_none() => {
                    match closing.run_until_cancelled(self.make(live)).await? {
                        Ok(found) => problem = found,
                        Err(trouble) => return Some(trouble),
                    }
                    made_at = Instant::now();
                    again = problem.is_some();
                }
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        blocked = Some(format!("rabbitmq at {at} takes no messages: {reason}"));
                    }
                    Some(Event::ConnectionUnblocked) => blocked = None,
                    Some(Event::Error(error)) if !live.connection.status().connected() => {
                        return Some(self.endpoint.trouble(&error));
                    }
                    Some(_) => {}
                    None => return soon("the connection ended"),
                },
            }
        }
    }

    /// Makes what is declared. Answers what could not be made and is worth another try.
    async fn make(&self, live: &Live) -> Result<Option<String>, Trouble> {
        let own: Vec<Declaration> = self.own.lock().values().cloned().collect();
        let making = async {
            let mut problems = Vec::new();
            for problem in declare::make(&live.connection, &self.declared).await? {
                if problem.differs {
                    self.differs(&problem.reason);
                } else {
                    problems.push(problem.reason);
                }
            }
            for queue in own {
                match declare::ensure(&live.connection, &queue).await {
                    Ok(()) => {}
                    Err(error) if live.connection.status().connected() => {
                        let name = &queue.name;
                        problems.push(format!("queue `{name}` cannot be made: {}", told(&error)));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(problems)
        };
        let at = &self.endpoint.at;
        match tokio::time::timeout(ANSWER, making).await {
            Ok(Ok(problems)) => {
                let first = problems.into_iter().next();
                Ok(first.map(|reason| format!("rabbitmq at {at}: {reason}")))
            }
            Ok(Err(error)) => Err(self.endpoint.trouble(&error)),
            Err(_) => Err(Trouble {
                reason: format!("rabbitmq at {at}: no answer to what is declared"),
                pace: Pace::Soon,
            }),
        }
    }

    /// Something exists otherwise than it is declared. Told once, not with every connection.
    pub(super) fn differs(&self, reason: &str) {
        if self.told.lock().insert(reason.to_owned()) {
            tracing::error!(at = %self.endpoint.at, reason, "rabbitmq: exists otherwise, and is left as it is");
        }
    }

    /// Something that was asked for is not there: what is declared is made again soon.
    pub(super) fn missed(&self) {
        self.missing.notify_one();
    }

    /// How many messages of a queue are ready. `None` where there is no such queue.
    pub(super) async fn ready(&self, queue: ShortString) -> Result<Option<u64>, String> {
        let live = self.live.borrow().clone().ok_or_else(|| self.why_not())?;
        let asked = async {
            let channel = live.connection.create_channel().await?;
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let declared = channel
                .queue_declare(queue, options, FieldTable::default())
                .await?;
            channel.close(200, "done".into()).await?;
            Ok(u64::from(declared.message_count()))
        };
        match within(ANSWER, asked).await {
            Ok(ready) => Ok(Some(ready)),
            Err(error) if reply_code(&error) == Some(MISSING) => Ok(None),
            Err(error) => Err(format!("rabbitmq: {}", told(&error))),
        }
    }
}

impl Live {
    /// The largest frame that client and server agreed on.
    pub(super) fn frame_max(&self) -> u32 {
        self.connection.configuration().frame_max()
    }

    /// What the client answers; `None` where the connection has ended, or there was no answer in time. Then the connection
    /// is given up: what is still on its way could be taken for an answer to something else.
    async fn answered<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = tokio::time::timeout(PATIENCE, asked) => {
                if answer.is_err() {
                    self.broken.cancel();
                }
                answer.ok()
            }
            () = self.broken.cancelled() => None,
        }
    }

    /// Publishes by a channel that is free. `None`s where the server did not answer.
    pub(super) async fn confirmed(&self, batch: &[Publish<'_>]) -> Vec<Option<Outcome>> {
        match self.answered(self.publish(batch)).await {
            Some(outcomes) => outcomes.into_iter().map(Some).collect(),
            None => vec![None; batch.len()],
        }
    }

    async fn publish(&self, batch: &[Publish<'_>]) -> Vec<Outcome> {
        let mut slot = match self.channels.iter().find_map(|c| c.try_lock().ok()) {
            Some(free) => free,
            None => self.channels[fastrand::usize(..CHANNELS)].lock().await,
        };
        let usable = |c: &Channel| c.status().connected();
        let opened = match slot.take().filter(usable) {
            Some(channel) => Ok(channel),
            None => confirm::channel(&self.connection).await,
        };
        let channel = match opened {
            Ok(channel) => channel,
            Err(error) => return vec![Outcome::Lost(error); batch.len()],
        };
        let outcomes = confirm::publish(&channel, batch).await;
        if outcomes.iter().any(|o| matches!(o, Outcome::Lost(_))) {
            self.exchanges.lock().clear();
        } else {
            *slot = Some(channel);
        }
        outcomes
    }

    /// Whether an exchange is there. Asked once in the life of a connection.
    pub(super) async fn exchange(&self, name: &ShortString) -> lapin::Result<()> {
        if name.as_str().is_empty() || self.exchanges.lock().contains(name) {
            return Ok(());
        }
        let asked = async {
            let channel = self.connection.create_channel().await?;
            let options = ExchangeDeclareOptions {
                passive: true,
                ..ExchangeDeclareOptions::default()
            };
            // Its kind is not looked at where it is only asked for.
            let kind = ExchangeKind::Direct;
            channel
                .exchange_declare(name.clone(), kind, options, FieldTable::default())
                .await?;
            channel.close(200, "done".into()).await
        };
        let answer = self.answered(asked).await;
        answer.unwrap_or_else(|| Err(no_answer()))?;
        self.exchanges.lock().insert(name.clone());
        Ok(())
    }

    /// Makes a queue of the host's own, once in the life of a connection.
    pub(super) async fn queue(&self, queue: &Declaration) -> lapin::Result<()> {
        if !self.queues.lock().contains(&queue.name) {
            let made = self
                .answered(declare::ensure(&self.connection, queue))
                .await;
            made.unwrap_or_else(|| Err(no_answer()))?;
            self.queues.lock().insert(queue.name.clone());
        }
        Ok(())
    }

    /// Something that was put into it came back: it is there no longer.
    pub(super) fn gone(&self, queue: &ShortString) {
        self.queues.lock().remove(queue);
    }
}
