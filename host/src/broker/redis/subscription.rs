//! What the parts of one open subscription share: names, connections, ledger, and the ways they wake each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{RedisError, Value};
use tokio::sync::{Notify, watch};

use super::connection::Link;
use super::entry::{self, Raw};
use super::ledger::{Identity, Lane, Ledger};
use super::script::Scripts;
use super::sizes::Sizes;
use super::wire::{self, Kept, Reading};
use super::{Counters, Options, keys};
use crate::delivery::Token;
use crate::message::Message;
use crate::ports::{PayloadFrom, SubscriptionSpec};

/// A message in hand that the source has not handed over yet.
pub(super) struct Fetched {
    pub(super) token: Token,
    pub(super) message: Message,
}

/// One of the two streams of a subscription.
struct Stream {
    name: Arc<str>,
    attempts: String,
    reading: Reading,
}

pub(super) struct Subscription {
    pub(super) options: Arc<Options>,
    pub(super) group: Arc<str>,
    /// Read what was there before the group existed.
    pub(super) from_start: bool,
    pub(super) scripts: Arc<Scripts>,
    /// Settlements and outputs. Shared with the broker's publisher.
    pub(super) data: Arc<Link>,
    /// Leases and recovery, so that a long pipeline of outputs does not keep a lease from being renewed.
    pub(super) control: Arc<Link>,
    pub(super) counters: Arc<Counters>,
    pub(super) sizes: Sizes,
    streams: [Stream; 2],
    pub(super) hosts: String,
    /// See [`Ledger`] on how long it is held.
    pub(super) ledger: Mutex<Ledger>,
    /// The epoch the server knows us by; `None` until registered. Written by the lease's task alone; the reader and
    /// recovery wait for it, so that nothing is read under a name that has no lease.
    pub(super) registered: watch::Sender<Option<u32>>,
    /// Wakes recovery: something was parked. A permit is stored, so none is missed.
    pub(super) parked: Notify,
    /// Wakes the lease's task: somebody was told we are fenced.
    pub(super) doubt: Notify,
    /// The stream for redriven dead letters exists. Set by recovery, never cleared: a missing stream is made again.
    retry_open: AtomicBool,
}

impl Subscription {
    pub(super) fn new(
        options: Arc<Options>,
        spec: &SubscriptionSpec,
        scripts: Arc<Scripts>,
        data: Arc<Link>,
        control: Arc<Link>,
        counters: Arc<Counters>,
    ) -> Self {
        let retry: Arc<str> = retry_of(&options, spec).into();
        let stream = |name: &Arc<str>, payload: PayloadFrom| Stream {
            name: Arc::clone(name),
            attempts: keys::attempts(name, &spec.group),
            reading: Reading {
                broker: Arc::clone(&options.name),
                subscription: Arc::clone(&spec.name),
                stream: Arc::clone(name),
                group: Some(Arc::clone(&spec.group)),
                payload,
            },
        };
        Self {
            group: Arc::clone(&spec.group),
            from_start: spec.from_start,
            streams: [
                stream(&spec.address, spec.payload.clone()),
                // A redriven dead letter lies as the host wrote it, however the original was read.
                stream(&retry, PayloadFrom::Field(wire::PAYLOAD.into())),
            ],
            hosts: keys::hosts(&spec.address, &spec.group),
            ledger: Mutex::new(Ledger::new(keys::consumer(&options.host).into())),
            registered: watch::Sender::new(None),
            parked: Notify::new(),
            doubt: Notify::new(),
            retry_open: AtomicBool::new(false),
            sizes: Sizes::default(),
            options,
            scripts,
            data,
            control,
            counters,
        }
    }

    pub(super) fn stream(&self, lane: Lane) -> &str {
        &self.streams[lane.index()].name
    }

    pub(super) fn attempts(&self, lane: Lane) -> &str {
        &self.streams[lane.index()].attempts
    }

    pub(super) fn lease_key(&self, consumer: &str) -> String {
        keys::lease(self.stream(Lane::Main), &self.group, consumer)
    }

    /// The streams to be read just now.
    pub(super) fn lanes(&self) -> &'static [Lane] {
        if self.retry_open.load(Ordering::Relaxed) {
            &Lane::BOTH
        } else {
            &[Lane::Main]
        }
    }

    pub(super) fn open_retry(&self) {
        self.retry_open.store(true, Ordering::Relaxed);
    }

    /// Which of ours a stream of that name is.
    pub(super) fn lane(&self, stream: &[u8]) -> Option<Lane> {
        Lane::BOTH
            .into_iter()
            .find(|lane| self.stream(*lane).as_bytes() == stream)
    }

    pub(super) fn read(&self, lane: Lane, raw: Raw, kept: Kept) -> Message {
        wire::read(raw, &self.streams[lane.index()].reading, kept)
    }

    /// Waits until the server knows us by our present name.
    pub(super) async fn identity(&self) -> Identity {
        let mut registered = self.registered.subscribe();
        loop {
            let known = *registered.borrow_and_update();
            let identity = self.ledger.lock().identity();
            if known == Some(identity.epoch) {
                return identity;
            }
            if registered.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Makes the group of a stream, and the stream; false where it was there. `start` is `0` or `$`.
    pub(super) async fn create_group(
        &self,
        link: &Link,
        lane: Lane,
        start: &str,
    ) -> Result<bool, RedisError> {
        let mut cmd = redis::cmd("XGROUP");
        cmd.arg("CREATE")
            .arg(self.stream(lane))
            .arg(&*self.group)
            .arg(start)
            .arg("MKSTREAM");
        match link.query(&cmd).await {
            Ok(_) => {
                // Records of a group of that name that is no more. Best effort: at worst they stay.
                let mut del = redis::cmd("DEL");
                del.arg(self.attempts(lane));
                if let Err(error) = link.query(&del).await {
                    tracing::debug!(%error, "redis: old attempts not deleted");
                }
                Ok(true)
            }
            Err(e) if e.code() == Some("BUSYGROUP") => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Counts entries that were trimmed or deleted while they were pending.
    pub(super) fn trimmed(&self, lane: Lane, count: usize) {
        if count > 0 {
            self.counters
                .trimmed
                .fetch_add(count as u64, Ordering::Relaxed);
            tracing::warn!(
                stream = self.stream(lane),
                group = &*self.group,
                count,
                "redis: entries were trimmed or deleted while pending and cannot be handled; \
                 do not trim a stream below what its groups have settled"
            );
        }
    }

    pub(super) fn look_every(&self) -> Duration {
        self.options.lease / 4
    }

    /// Names of a group's consumers.
    pub(super) async fn consumers(&self, lane: Lane) -> Result<Vec<String>, RedisError> {
        let mut cmd = redis::cmd("XINFO");
        cmd.arg("CONSUMERS")
            .arg(self.stream(lane))
            .arg(&*self.group);
        let rows: Vec<Value> = match self.control.query(&cmd).await {
            Ok(value) => entry::items(value).unwrap_or_default(),
            // No stream or no group yet.
            Err(e) if e.code() == Some("NOGROUP") || e.detail() == Some("no such key") => {
                Vec::new()
            }
            Err(e) => return Err(e),
        };
        Ok(rows
            .into_iter()
            .filter_map(|row| entry::text(entry::lookup(&entry::items(row)?, "name")?))
            .collect())
    }
}

/// The second stream of a subscription.
pub(super) fn retry_of(options: &Options, spec: &SubscriptionSpec) -> String {
    if options.access.cluster {
        keys::retry(&spec.address, &spec.name, &spec.plugin)
    } else {
        retry_stream(&spec.name, &spec.plugin)
    }
}

/// As [`retry_stream`], in a cluster, where it is in one slot with the stream of the subscription.
pub fn retry_stream_in_cluster(stream: &str, subscription: &str, plugin: &str) -> String {
    keys::retry(stream, subscription, plugin)
}

/// Where dead letters of a subscription are put to be handled again.
pub fn retry_stream(subscription: &str, plugin: &str) -> String {
    format!("retry.{subscription}.{plugin}")
}
