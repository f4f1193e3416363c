//! Publishes to a subject that keeps nothing, no further ahead of the outputs than a contender can hold, and keeps the
//! outputs. What is not answered is lost, and another message is published in its place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::with_id;
use crate::payload::{SIZE, payload};
use crate::twin::BATCH;

/// Messages without an output, at most: more than any contender has in hand, fewer than the host lets wait.
const AHEAD: u64 = 4096;
/// Outputs that are kept together, and messages that are published together.
const CHUNK: usize = BATCH;
/// How long no output comes until those that are missing count as lost.
const LOST: Duration = Duration::from_secs(1);
/// Between two questions whether somebody listens.
const ASK: Duration = Duration::from_millis(20);
/// How long somebody may take to begin to listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Asks whether somebody listens. Its output is known by its size: that of a message is at least as large as the message.
const QUESTION: &[u8] = br#"{"seq":0,"at":0}"#;

#[derive(Default)]
struct Shared {
    outputs: Mutex<Vec<Bytes>>,
    published: AtomicU64,
    /// A question was answered.
    listening: Notify,
    /// Outputs came.
    arrived: Notify,
}

impl Shared {
    fn outputs(&self) -> u64 {
        let outputs = self.outputs.lock();
        outputs.unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

/// One run's publisher and observer; both end with it.
pub(super) struct Feed {
    shared: Arc<Shared>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Feed {
    /// Begins to keep outputs.
    pub(super) async fn open(client: &Client) -> anyhow::Result<Self> {
        let outputs = client.subscribe("out").await?;
        client.flush().await?;
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(Arc::clone(&shared), outputs));
        Ok(Self { shared, tasks })
    }

    /// Waits until somebody answers.
    pub(super) async fn answered(&mut self, client: &Client) -> anyhow::Result<()> {
        let asking = async {
            loop {
                let question = QUESTION.into();
                client
                    .publish_with_headers("in", with_id(0), question)
                    .await?;
                if timeout(ASK, self.shared.listening.notified()).await.is_ok() {
                    return anyhow::Ok(());
                }
            }
        };
        timeout(PATIENCE, asking).await.context("nobody listens")?
    }

    /// Publishes until there are so many outputs.
    pub(super) fn publish(&mut self, client: &Client, messages: u64) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(publish(shared, client.clone(), messages));
    }

    /// How many there are.
    pub(super) fn outputs(&mut self) -> anyhow::Result<u64> {
        while let Some(ended) = self.tasks.try_join_next() {
            ended??;
        }
        Ok(self.shared.outputs())
    }

    /// How many messages were published, and the outputs.
    pub(super) fn ended(&mut self) -> anyhow::Result<(u64, Vec<Bytes>)> {
        self.outputs()?;
        let mut outputs = self.shared.outputs.lock();
        let outputs = outputs.as_deref_mut().map(std::mem::take);
        let outputs = outputs.map_err(|_| anyhow::anyhow!("the observer panicked"))?;
        Ok((self.shared.published.load(Ordering::Acquire), outputs))
    }
}

/// Outputs are read when the run is over: here they only take time from those who are measured.
async fn keep(shared: Arc<Shared>, outputs: Subscriber) -> anyhow::Result<()> {
    let mut outputs = outputs.ready_chunks(CHUNK);
    while let Some(chunk) = outputs.next().await {
        let payloads = chunk.into_iter().map(|output| output.payload);
        let (new, answers): (Vec<_>, Vec<_>) = payloads.partition(|payload| payload.len() >= SIZE);
        if !answers.is_empty() {
            shared.listening.notify_one();
        }
        match shared.outputs.lock() {
            Ok(mut outputs) => outputs.extend(new),
            Err(_) => bail!("the run is over"),
        }
        shared.arrived.notify_one();
    }
    bail!("the subscription to the outputs ended")
}

async fn publish(shared: Arc<Shared>, client: Client, messages: u64) -> anyhow::Result<()> {
    let (mut published, mut lost) = (0_u64, 0_u64);
    loop {
        let seen = shared.outputs();
        if seen >= messages {
            return Ok(());
        }
        // What counted as lost may come after all.
        let under_way = (published - lost.min(published)).saturating_sub(seen);
        let missing = (messages + lost).saturating_sub(published);
        let room = AHEAD.saturating_sub(under_way).min(missing);
        if room >= missing.clamp(1, CHUNK as u64) {
            for seq in published..published + room {
                let payload = payload(seq, 0).into();
                client
                    .publish_with_headers("in", with_id(seq), payload)
                    .await?;
            }
            published += room;
            shared.published.store(published, Ordering::Release);
        } else if timeout(LOST, shared.arrived.notified()).await.is_err()
            && shared.outputs() == seen
        {
            lost += under_way;
        }
    }
}
