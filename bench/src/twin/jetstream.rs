//! The twin on NATS JetStream: a durable pull consumer, publishes with their acknowledgements awaited together, and
//! acknowledgements of messages that are confirmed by the server, all of a batch at once.

use anyhow::{Context as _, anyhow};
use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::{self, Context, Message, consumer};
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, StreamExt as _};

use super::{BATCH, Work};

pub(super) async fn run(url: &str, name: &str, work: Work) -> anyhow::Result<()> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let stream = context.get_stream("in").await?;
    let config = consumer::pull::Config {
        durable_name: Some(name.to_owned()),
        max_ack_pending: 10_000,
        ..consumer::pull::Config::default()
    };
    let reader = stream.get_or_create_consumer(name, config).await?;
    let mut messages = reader
        .stream()
        .max_messages_per_batch(2 * BATCH)
        .messages()
        .await?;
    let mut before: Option<Sent> = None;
    loop {
        // Nobody else is there: the last batch must not wait for another.
        let ready = messages.next().now_or_never().flatten();
        let first = match (ready, before.take()) {
            (Some(first), kept) => {
                before = kept;
                first
            }
            (None, Some(last)) => {
                last.confirmed().await?;
                continue;
            }
            (None, None) => messages.next().await.context("the consumer ended")?,
        };
        let mut batch = vec![first.map_err(|e| anyhow!("{e}"))?];
        while batch.len() < BATCH
            && let Some(next) = messages.next().now_or_never().flatten()
        {
            batch.push(next.map_err(|e| anyhow!("{e}"))?);
        }
        let sent = send(&context, batch, work).await?;
        if let Some(before) = before.replace(sent) {
            before.confirmed().await?;
        }
    }
}

/// One batch on its way: its messages, and what will tell that their outputs are there.
struct Sent {
    batch: Vec<Message>,
    confirmations: Vec<PublishAckFuture>,
}

impl Sent {
    async fn confirmed(self) -> anyhow::Result<()> {
        for confirmation in self.confirmations {
            confirmation.await?;
        }
        let acknowledged = self.batch.iter().map(Message::double_ack);
        try_join_all(acknowledged)
            .await
            .map_err(|e| anyhow!("{e}"))?;
        Ok(())
    }
}

async fn send(context: &Context, batch: Vec<Message>, work: Work) -> anyhow::Result<Sent> {
    let mut confirmations = Vec::with_capacity(batch.len());
    for message in &batch {
        let sequence = message.info().map_err(|e| anyhow!("{e}"))?.stream_sequence;
        let output = work.payload(&message.payload)?;
        let (mut headers, payload) = match output {
            Some(payload) => {
                let mut headers = HeaderMap::new();
                headers.insert("content-type", "application/json");
                (headers, payload.into())
            }
            None => (
                message.headers.clone().unwrap_or_default(),
                message.payload.clone(),
            ),
        };
        headers.insert("Nats-Msg-Id", format!("in/{sequence}/bench/0"));
        confirmations.push(
            context
                .publish_with_headers("out", headers, payload)
                .await?,
        );
    }
    Ok(Sent {
        batch,
        confirmations,
    })
}
