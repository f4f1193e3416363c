//! Reads new entries, by blocking group reads on a connection of its own.
//!
//! Own connection, because a blocked command blocks everything behind it. Each read blocks for [`Options::block`] at
//! most (servers have blocked longer than asked, and a dead one says nothing), and is given up some time after that.
//! What the server handed to a connection that broke is pending under our name with nobody knowing: before reading on,
//! the reader has recovery look for it.
//!
//! [`Options::block`]: super::Options

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use tokio::sync::{mpsc, oneshot, watch};

use super::connection::{Backoff, Endpoint, Part};
use super::durability;
use super::entry;
use super::lease;
use super::ledger::{Identity, Lane, Place};
use super::recovery::Reconcile;
use super::subscription::{Fetched, Subscription};
use super::wire::Kept;
use crate::ports::BrokerError;

pub(super) struct Reader {
    pub(super) sub: Arc<Subscription>,
    pub(super) endpoint: Endpoint,
    pub(super) part: Part,
    /// How many the source has room for. Nothing is read unasked.
    pub(super) asks: mpsc::Receiver<usize>,
    pub(super) fresh: mpsc::Sender<Result<Vec<Fetched>, BrokerError>>,
    pub(super) orders: mpsc::Sender<Reconcile>,
    pub(super) caught_up: watch::Receiver<bool>,
}

impl Reader {
    /// Runs until dropped, or until the source is gone.
    pub(super) async fn run(mut self) {
        let (min, max) = self.sub.options.backoff;
        let mut backoff = Backoff::new(min, max);
        let mut line: Option<MultiplexedConnection> = None;
        // The very first group may start at the end; one that had to be made again never does.
        let mut first = true;
        while let Some(count) = self.asks.recv().await {
            let answer = loop {
                match self.step(&mut line, &mut first, count).await {
                    Ok(entries) => {
                        backoff.reset();
                        self.part.well();
                        if !entries.is_empty() {
                            break Ok(entries);
                        }
                    }
                    Err(error) => {
                        if self.endpoint.leaves(&error) || line.is_none() {
                            line = None;
                        }
                        let told = self.endpoint.error(&error);
                        self.part.trouble(&told.to_string());
                        backoff.wait().await;
                        if matches!(told, BrokerError::Refused(_)) {
                            break Err(told);
                        }
                    }
                }
            };
            if self.fresh.send(answer).await.is_err() {
                return;
            }
        }
    }

    /// One read, with all that has to be in place for it.
    async fn step(
        &mut self,
        line: &mut Option<MultiplexedConnection>,
        first: &mut bool,
        count: usize,
    ) -> Result<Vec<Fetched>, RedisError> {
        let line = match line {
            Some(line) => line,
            None => line.insert(self.open(first).await?),
        };
        // The sender lives in recovery; when that is gone, so are we.
        drop(self.caught_up.wait_for(|caught_up| *caught_up).await);
        let identity = self.sub.identity().await;
        match self.read(line, &identity, count).await {
            Err(e) if gone(&e) => {
                for lane in self.sub.lanes() {
                    self.sub.create_group(&self.sub.control, *lane, "0").await?;
                }
                self.group_was_gone().await;
                Ok(Vec::new())
            }
            read => read,
        }
    }

    /// Connects, makes the group where it is missing, and has what a former connection lost looked for.
    async fn open(&self, first: &mut bool) -> Result<MultiplexedConnection, RedisError> {
        let connection = self.endpoint.connect(self.sub.options.block).await?;
        let start = if *first && !self.sub.from_start {
            "$"
        } else {
            "0"
        };
        let made = self
            .sub
            .create_group(&self.sub.control, Lane::Main, start)
            .await?;
        if made && !*first {
            self.group_was_gone().await;
        }
        if *first {
            durability::warn(&self.sub.control).await;
        } else {
            let (done, reconciled) = oneshot::channel();
            if self.orders.send(done).await.is_ok() && reconciled.await.is_err() {
                return Err(RedisError::from(std::io::Error::other(
                    "pending entries could not be compared after reconnecting",
                )));
            }
        }
        *first = false;
        Ok(connection)
    }

    async fn read(
        &self,
        line: &mut MultiplexedConnection,
        identity: &Identity,
        count: usize,
    ) -> Result<Vec<Fetched>, RedisError> {
        let block = u64::try_from(self.sub.options.block.as_millis()).unwrap_or(1000);
        let lanes = self.sub.lanes();
        let mut cmd = redis::cmd("XREADGROUP");
        cmd.arg("GROUP")
            .arg(&*self.sub.group)
            .arg(&*identity.consumer)
            .arg("COUNT")
            .arg(count.max(1))
            .arg("BLOCK")
            .arg(block)
            .arg("STREAMS");
        for lane in lanes {
            cmd.arg(self.sub.stream(*lane));
        }
        for _ in lanes {
            cmd.arg(">");
        }
        let answer: Value = cmd.query_async(line).await?;
        Ok(self.take_in(answer, identity))
    }

    /// Takes what was read into hand.
    fn take_in(&self, answer: Value, identity: &Identity) -> Vec<Fetched> {
        let mut fetched = Vec::new();
        for (stream, entries) in entry::group_read(answer) {
            let Some(lane) = self.sub.lane(&stream) else {
                continue;
            };
            fetched.reserve(entries.len());
            let kept = Kept {
                attempts: 0,
                first_failed_ms: None,
                deliveries: 1,
            };
            let mut ledger = self.sub.ledger.lock();
            for raw in entries {
                let place = Place { lane, id: raw.id };
                if let Some(token) = ledger.hold(place, identity.epoch, false) {
                    let message = self.sub.read(lane, raw, kept);
                    fetched.push(Fetched { token, message });
                }
            }
        }
        fetched
    }

    /// With the group our registration may be gone too: asked for before reading on, so that nothing is read under a
    /// name that can settle nothing.
    async fn group_was_gone(&self) {
        tracing::warn!(
            stream = self.sub.stream(Lane::Main),
            group = &*self.sub.group,
            "redis: the group was gone and has been made again, from the start of the stream"
        );
        if let Err(error) = lease::renew(&*self.sub).await {
            tracing::debug!(%error, "redis: registration not asked for, the lease's task will");
        }
        self.sub.doubt.notify_one();
    }
}

/// The stream or its group no longer exists, by whichever of the server's words.
fn gone(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}
