//! The connection of a broker: one for everything it reads and publishes.
//!
//! The client connects again by itself and subscribes again to what it was subscribed to; acknowledgements name their
//! message by subject, so they are good on whatever connection. What was asked and not answered when a connection was
//! lost is never answered: so [`Link::request`] asks again as soon as there is a new one.
//!
//! What surprises:
//! - The client says of a failed attempt only of which kind it was. What it shows to whoever may choose the next server
//!   (`ConnectOptions::reconnect_to_server_callback`) has the server's own reason.
//! - What is published while there is no connection is kept in a queue of bounded length, and a full one stops whoever
//!   publishes. So nothing is, without a connection.
//! - A header with a lone carriage return in it ends the client's task by a panic, for good. Nothing of the client says so;
//!   a connection that is up and cannot be flushed is given up, and a new client made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, Event, Message, Request, ServerError};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connect::Endpoint;
use crate::broker::waiting::{Part, Tries};

mod advice;

use advice::unreached;

pub(super) use advice::advised;

/// How long the server may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Between two looks whether the client still lives.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Link {
    part: Part,
    at: Arc<str>,
    /// The client in use, and which connection it has: greater ones are later.
    client: watch::Sender<Option<Client>>,
    made: watch::Sender<u64>,
    /// What the server said last of a failed attempt.
    reason: Mutex<Option<String>>,
    /// What the server refused last, in its words.
    denied: Mutex<Option<(Instant, String)>>,
    /// Messages the client threw away because nobody took them.
    overflown: AtomicU64,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// There is nobody to answer.
    Nobody,
    /// It is larger than the server takes: in the client's words, and what to change.
    TooLarge(String),
    /// Not now.
    Unavailable(String),
}

impl Link {
    pub(super) fn new(endpoint: &Endpoint, part: Part) -> Arc<Self> {
        Arc::new(Self {
            part,
            at: Arc::clone(&endpoint.at),
            client: watch::Sender::new(None),
            made: watch::Sender::new(0),
            reason: Mutex::default(),
            denied: Mutex::default(),
            overflown: AtomicU64::new(0),
        })
    }

    /// Keeps a client until `closing`.
    pub(super) async fn keep(
        self: Arc<Self>,
        endpoint: Endpoint,
        mut tries: Tries,
        closing: CancellationToken,
    ) {
        while !closing.is_cancelled() {
            match self.connect(&endpoint).await {
                Ok(client) => {
                    self.client.send_replace(Some(client.clone()));
                    tokio::select! {
                        () = dead(&client) => {}
                        () = closing.cancelled() => {}
                    }
                    self.client.send_replace(None);
                    if closing.is_cancelled() {
                        // What is written and not sent yet.
                        drop(tokio::time::timeout(ANSWER, client.flush()).await);
                        drop(client.drain().await);
                        return;
                    }
                    self.part.trouble(&format!(
                        "nats at {}: the client came to an end over something it received",
                        self.at
                    ));
                }
                Err(reason) => self.part.trouble(&reason),
            }
            tokio::select! {
                () = tokio::time::sleep(tries.failed(fastrand::f64())) => {}
                () = closing.cancelled() => {}
            }
        }
    }

    async fn connect(self: &Arc<Self>, endpoint: &Endpoint) -> Result<Client, String> {
        let options = endpoint.options().map_err(|e| e.to_string())?;
        let (events, spy) = (Arc::clone(self), Arc::clone(self));
        let options = options
            .event_callback(move |event| {
                events.event(event);
                std::future::ready(())
            })
            .reconnect_to_server_callback(move |servers, _| {
                spy.attempted(&servers);
                // The client's own choice.
                std::future::ready(None)
            });
        let client = options.connect(endpoint.servers()).await;
        client.map_err(|e| advised(format!("nats at {}: {e}", self.at)))
    }

    fn event(&self, event: Event) {
        match event {
            Event::Connected => {
                *self.reason.lock() = None;
                self.made.send_modify(|made| *made += 1);
                self.part.well();
            }
            Event::Disconnected | Event::Closed => {
                self.part
                    .trouble(&format!("nats at {}: the connection is lost", self.at));
            }
            Event::ClientError(error) => {
                if self.reason.lock().is_none() {
                    let said = advised(format!("nats at {}: {error}", self.at));
                    self.part.trouble(&said);
                }
            }
            Event::ServerError(ServerError::Other(said)) => {
                let told = advised(said.clone());
                tracing::warn!(
                    at = &*self.at,
                    said = told,
                    "nats: the server refused something"
                );
                *self.denied.lock() = Some((Instant::now(), said));
            }
            Event::SlowConsumer(_) => {
                self.overflown.fetch_add(1, Ordering::Relaxed);
            }
            Event::ServerError(_) | Event::LameDuckMode | Event::Draining => {}
        }
    }

    fn attempted(&self, servers: &[async_nats::Server]) {
        let said: Vec<String> = servers
            .iter()
            .filter_map(|s| {
                let error = s.last_error.as_ref()?;
                Some(format!("{}:{}: {error}", s.addr.host(), s.addr.port()))
            })
            .collect();
        if !said.is_empty() {
            let said = unreached(format!("nats at {}", said.join("; ")));
            self.part.trouble(&said);
            *self.reason.lock() = Some(said);
        }
    }

    /// The client, while it is connected.
    pub(super) fn client(&self) -> Option<Client> {
        let client = self.client.borrow().clone();
        client.filter(|c| c.connection_state() == State::Connected)
    }

    /// Waits for a connection; answers with its number.
    pub(super) async fn connected(&self) -> (Client, u64) {
        let mut client = self.client.subscribe();
        let mut made = self.made.subscribe();
        loop {
            let number = *made.borrow_and_update();
            if let Some(client) = self.client() {
                return (client, number);
            }
            tokio::select! {
                // Neither ends before the link does.
                _ = client.changed() => {}
                _ = made.changed() => {}
                // The state changes a moment after it is told of.
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    }

    /// Waits until there is another connection than this one.
    pub(super) async fn another(&self, than: u64) {
        let mut made = self.made.subscribe();
        let mut client = self.client.subscribe();
        tokio::select! {
            _ = made.wait_for(|made| *made != than) => {}
            _ = client.wait_for(|client| client.is_none()) => {}
        }
    }

    /// Why there is no connection.
    pub(super) fn why_not(&self) -> String {
        let now = self.part.now();
        now.unwrap_or_else(|| format!("nats at {}: not connected", self.at))
    }

    /// What the server refused lately that names `subject`, and what to change.
    pub(super) fn denied(&self, subject: &str) -> Option<String> {
        let denied = self.denied.lock();
        let (when, said) = denied.as_ref()?;
        (when.elapsed() < 2 * ANSWER && said.contains(subject)).then(|| advised(said.clone()))
    }

    /// Messages the client threw away so far.
    pub(super) fn overflown(&self) -> u64 {
        self.overflown.load(Ordering::Relaxed)
    }

    /// What `wanted` comes to, unless there is another connection before: what was asked by the old one is never answered.
    pub(super) async fn unless_lost<T>(&self, wanted: impl Future<Output = T>) -> Option<T> {
        let number = *self.made.borrow();
        tokio::select! {
            answer = wanted => Some(answer),
            () = self.another(number) => None,
        }
    }

    /// Asks, once more after each connection that is lost meanwhile, and waits for `patience` in all.
    pub(super) async fn request(
        &self,
        subject: &str,
        patience: Duration,
        request: impl Fn() -> Request,
    ) -> Result<Message, Unanswered> {
        let deadline = Instant::now() + patience;
        loop {
            let number = *self.made.borrow();
            let Some(client) = self.client() else {
                return Err(Unanswered::Unavailable(self.why_not()));
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = client.send_request(subject.to_owned(), request().timeout(Some(left)));
            let answer = tokio::select! {
                answer = asked => answer,
                () = self.another(number) => continue,
            };
            return answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Unanswered::Nobody,
                RequestErrorKind::MaxPayloadExceeded => {
                    Unanswered::TooLarge(advised(error.to_string()))
                }
                _ => Unanswered::Unavailable(match self.denied(subject) {
                    Some(said) => said,
                    None => format!("nats at {}: {error}", self.at),
                }),
            });
        }
    }
}

/// Returns when the client's task has ended. See the module.
async fn dead(client: &Client) {
    loop {
        tokio::time::sleep(LOOK).await;
        if client.connection_state() == State::Connected
            && let Ok(Err(_)) = tokio::time::timeout(LOOK, client.flush()).await
        {
            return;
        }
    }
}
