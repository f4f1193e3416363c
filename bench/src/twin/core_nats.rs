//! The twin on subjects outside of streams: a queue group, and outputs published with one flush a batch, which is awaited
//! while the next batch is handled. At most once, as the host there: nothing is confirmed and nothing acknowledged.

use anyhow::{Context as _, bail};
use async_nats::{Client, HeaderMap, Message};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::JoinHandle;

use super::{BATCH, Work};

/// The header that holds a message's id.
const ID: &str = "wharf-id";

pub(super) async fn run(url: &str, group: &str, work: Work) -> anyhow::Result<()> {
    let client = async_nats::connect(url).await?;
    let mut messages = client.queue_subscribe("in", group.to_owned()).await?;
    let mut before: Option<JoinHandle<_>> = None;
    while let Some(first) = messages.next().await {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(next) = messages.next().now_or_never().flatten()
        {
            batch.push(next);
        }
        for message in batch {
            publish(&client, message, work).await?;
        }
        if let Some(before) = before.take() {
            before.await??;
        }
        let flushing = client.clone();
        before = Some(tokio::spawn(async move { flushing.flush().await }));
    }
    bail!("the subscription ended")
}

async fn publish(client: &Client, message: Message, work: Work) -> anyhow::Result<()> {
    let read = message.headers.unwrap_or_default();
    let id = format!("{}/bench/0", read.get(ID).context("no id")?);
    let (mut headers, payload) = match work.payload(&message.payload)? {
        Some(payload) => {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/json");
            (headers, payload.into())
        }
        None => (read, message.payload),
    };
    headers.insert(ID, id);
    Ok(client.publish_with_headers("out", headers, payload).await?)
}
