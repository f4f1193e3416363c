//! Connections: when they are made, how long anything may take, and what an error means.
//!
//! The client's own reconnecting manager is not used: it keeps a demoted node (it does not take READONLY for a reason
//! to leave) and it cannot say whether a reply was lost. Here a connection is thrown away after any error that leaves
//! doubt about it, and whoever needs one next makes it. Nothing waits without a bound: connecting and answering have
//! timeouts, and the client's default of 500 ms per answer (shorter than a blocking read) is never left in place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion,
    RedisError, ServerErrorKind, Value,
};

use crate::ports::{BrokerError, Health};

/// What keeps each part of the broker from working just now, by part. Empty: all is well.
///
/// One lock, held for the look-up alone, taken when a connection changes state and when health is asked for: never
/// per message.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    by_part: Mutex<BTreeMap<u64, String>>,
    /// Names the parts; only ever counts up.
    next: AtomicU64,
}

impl Troubles {
    /// A part's own place. It starts without trouble.
    pub(super) fn part(self: &Arc<Self>) -> Part {
        Part {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            troubles: Arc::clone(self),
        }
    }

    pub(super) fn health(&self) -> Health {
        match self.by_part.lock().values().next() {
            None => Health::Ready,
            Some(reason) => Health::Waiting(reason.clone()),
        }
    }
}

/// One part's place in [`Troubles`]; gives it up when dropped.
#[derive(Debug)]
pub(super) struct Part {
    id: u64,
    troubles: Arc<Troubles>,
}

impl Part {
    /// Says what is wrong. Logged when it is new.
    pub(super) fn trouble(&self, reason: &str) {
        let mut by_part = self.troubles.by_part.lock();
        if by_part.get(&self.id).is_none_or(|old| old != reason) {
            tracing::warn!(reason, "redis: waiting");
            by_part.insert(self.id, reason.to_owned());
        }
    }

    pub(super) fn well(&self) {
        if self.troubles.by_part.lock().remove(&self.id).is_some() {
            tracing::info!("redis: connected again");
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.troubles.by_part.lock().remove(&self.id);
    }
}

/// How long to wait before the next try: doubles from `min` to `max`, each with up to half of it taken off at random.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            failures: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// `jitter` is between 0 and 1.
    fn step(&mut self, jitter: f64) -> Duration {
        let full = self
            .min
            .saturating_mul(1u32 << self.failures.min(16))
            .min(self.max);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(1.0 - jitter / 2.0)
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.step(fastrand::f64())).await;
    }
}

/// What an error means for the connection it came by.
pub(super) fn breaks(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout() || waits_out(error)
}

/// The node is there and cannot serve yet, or no longer: wait, and ask by a new connection.
fn waits_out(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
        )
    )
}

pub(super) fn is_code(error: &RedisError, code: &str) -> bool {
    error.code() == Some(code)
}

/// What somebody has to change, in the server's own words, or what only has to be waited for.
pub(super) fn broker_error(at: &str, error: &RedisError) -> BrokerError {
    let refused = matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::Server(ServerErrorKind::NoPerm)
    ) || matches!(
        error.code(),
        Some("NOAUTH" | "WRONGPASS" | "WRONGTYPE" | "NOPERM")
    ) || error.detail().is_some_and(|d| {
        d.starts_with("unknown command") || d.contains("DB index is out of range")
    });
    let text = format!("redis at {at}: {error}");
    if refused {
        BrokerError::Refused(text)
    } else {
        BrokerError::Unavailable(text)
    }
}

/// Where the server is and how long things may take.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    client: Client,
    /// For messages: host and port, never credentials.
    pub(super) at: Arc<str>,
    connect: Duration,
    answer: Duration,
}

impl Endpoint {
    pub(super) fn new(url: &str, connect: Duration, answer: Duration) -> Result<Self, BrokerError> {
        let unusable = |e| BrokerError::Refused(format!("the redis url cannot be used: {e}"));
        let info = url.into_connection_info().map_err(unusable)?;
        // Replies are taken apart by hand, so their shape must not depend on the url.
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(info.set_redis_settings(settings)).map_err(unusable)?;
        let at = client.get_connection_info().addr().to_string().into();
        Ok(Self {
            client,
            at,
            connect,
            answer,
        })
    }

    /// What the server says to our credentials: the client keeps its words to itself.
    async fn why_not(&self, config: &AsyncConnectionConfig) -> Option<RedisError> {
        let info = self.client.get_connection_info();
        let settings = info.redis_settings();
        let mut auth = redis::cmd("AUTH");
        auth.arg(settings.username()).arg(settings.password()?);
        let bare = info
            .clone()
            .set_redis_settings(redis::RedisConnectionInfo::default());
        let mut connection = Client::open(bare)
            .ok()?
            .get_multiplexed_async_connection_with_config(config)
            .await
            .ok()?;
        auth.query_async::<Value>(&mut connection).await.err()
    }

    /// A new connection on which an answer may take `extra` longer than usual (a blocking read).
    pub(super) async fn connect(
        &self,
        extra: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.answer + extra));
        // The client's own timeout covers the socket, this one the greeting (AUTH, SELECT) as well.
        match tokio::time::timeout(
            self.connect + self.answer,
            self.client
                .get_multiplexed_async_connection_with_config(&config),
        )
        .await
        {
            Ok(Err(e)) if e.kind() == ErrorKind::AuthenticationFailed => {
                Err(self.why_not(&config).await.unwrap_or(e))
            }
            Ok(connected) => connected,
            Err(_) => Err(RedisError::from(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "no answer while connecting",
            ))),
        }
    }
}

impl Endpoint {
    /// A new connection that listens to channels. Nothing else can be asked on it.
    pub(super) async fn listen(&self) -> Result<PubSub, RedisError> {
        let listening = self.client.get_async_pubsub();
        let timed_out =
            || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer while connecting");
        let listening = tokio::time::timeout(self.connect + self.answer, listening).await;
        listening.unwrap_or_else(|_| Err(RedisError::from(timed_out())))
    }

    /// Most time to wait for an answer.
    pub(super) fn answer(&self) -> Duration {
        self.answer
    }
}

#[derive(Default)]
struct Slot {
    connection: Option<MultiplexedConnection>,
    /// Which connection this is, so that a late failure does not throw away its successor.
    generation: u64,
}

/// A connection shared by many callers, made when first needed and again after it broke.
///
/// The lock is held while connecting, so that many callers make one connection; `connect` bounds it. Otherwise it is
/// held to clone a handle, once per batch.
pub(super) struct Link {
    pub(super) endpoint: Endpoint,
    slot: tokio::sync::Mutex<Slot>,
    part: Part,
}

impl Link {
    pub(super) fn new(endpoint: Endpoint, part: Part) -> Self {
        Self {
            endpoint,
            slot: tokio::sync::Mutex::default(),
            part,
        }
    }

    async fn get(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((connection.clone(), slot.generation));
        }
        match self.endpoint.connect(Duration::ZERO).await {
            Ok(connection) => {
                slot.generation += 1;
                slot.connection = Some(connection.clone());
                self.part.well();
                Ok((connection, slot.generation))
            }
            Err(e) => {
                self.part
                    .trouble(&broker_error(&self.endpoint.at, &e).to_string());
                Err(e)
            }
        }
    }

    async fn failed(&self, generation: u64, error: &RedisError) {
        if !breaks(error) {
            return;
        }
        let mut slot = self.slot.lock().await;
        if slot.generation == generation && slot.connection.take().is_some() {
            self.part
                .trouble(&broker_error(&self.endpoint.at, error).to_string());
        }
    }

    /// Carries out one command.
    pub(super) async fn query(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        let (mut connection, generation) = self.get().await?;
        let answer = cmd.query_async::<Value>(&mut connection).await;
        if let Err(e) = &answer {
            self.failed(generation, e).await;
        }
        answer
    }

    /// Carries out a pipeline; errors of single commands are among the answers.
    pub(super) async fn pipeline(&self, pipe: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let (mut connection, generation) = self.get().await?;
        let answer = pipe.query_async::<Vec<Value>>(&mut connection).await;
        if let Err(e) = &answer {
            self.failed(generation, e).await;
        }
        answer
    }

    pub(super) fn error(&self, error: &RedisError) -> BrokerError {
        broker_error(&self.endpoint.at, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_from_the_least_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let steps: Vec<_> = (0..8).map(|_| backoff.step(0.0).as_millis()).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.step(1.0).as_millis(), 50);
    }

    #[test]
    fn trouble_of_one_part_is_not_cleared_by_another() {
        let troubles = Arc::new(Troubles::default());
        let (a, b) = (troubles.part(), troubles.part());
        a.trouble("gone");
        b.trouble("also gone");
        b.well();
        assert_eq!(troubles.health(), Health::Waiting("gone".into()));
        drop(a);
        assert_eq!(troubles.health(), Health::Ready);
    }
}
