//! A NATS server of our own with JetStream on its disk. The stream `in` is filled once; each run reads it by a new
//! durable consumer, and `out` is made anew: emptied, it would still know the ids of the run before and drop those of this one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer};
use futures_util::StreamExt as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use wharf_tests::nats_server::NatsServer;

use super::Stage;
use crate::hosts::Keys;
use crate::payload::{HEADERS, Seen, payload, read};
use crate::twin::Place;

/// Messages that are confirmed together while filling.
const CHUNK: u64 = 1000;
/// For one output that is there.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct JetStreamStage {
    server: NatsServer,
    context: jetstream::Context,
    folder: TempDir,
    messages: u64,
    run: u32,
}

impl JetStreamStage {
    /// A server with so many messages in `in`.
    pub(crate) async fn filled(messages: u64) -> anyhow::Result<Self> {
        let server = NatsServer::start().await;
        server.stream("in", &["in"]).await;
        let context = server.jetstream().await;
        let headers = header_map();
        let mut at = 0;
        while at < messages {
            let end = messages.min(at + CHUNK);
            let mut confirmations = Vec::with_capacity(CHUNK as usize);
            for seq in at..end {
                let payload = payload(seq, 0).into();
                let sent = context.publish_with_headers("in", headers.clone(), payload);
                confirmations.push(sent.await?);
            }
            for confirmation in confirmations {
                confirmation.await?;
            }
            at = end;
        }
        Ok(Self {
            server,
            context,
            folder: tempfile::tempdir()?,
            messages,
            run: 0,
        })
    }

    /// This run's durable consumer.
    fn consumer(&self) -> String {
        format!("bench-{}", self.run)
    }

    pub(crate) fn context(&self) -> jetstream::Context {
        self.context.clone()
    }

    /// Reads the outputs from the first on.
    pub(crate) async fn out(&self) -> anyhow::Result<consumer::pull::Stream> {
        let out = self.context.get_stream("out").await?;
        let config = consumer::pull::Config {
            ack_policy: consumer::AckPolicy::None,
            ..consumer::pull::Config::default()
        };
        Ok(out.create_consumer(config).await?.messages().await?)
    }
}

/// The headers of every message.
pub(crate) fn header_map() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.append(name, value);
    }
    headers
}

impl Stage for JetStreamStage {
    const KEYS: Keys = Keys {
        source: "stream",
        destination: "subject",
        core: false,
    };

    fn name(&self) -> &'static str {
        "NATS JetStream"
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        if self.run > 0 {
            self.server.delete("out").await;
        }
        self.server.stream("out", &["out"]).await;
        self.run += 1;
        Ok(())
    }

    fn broker(&self) -> serde_json::Value {
        json!({ "type": "nats", "url": self.server.url() })
    }

    fn group(&self) -> Option<String> {
        Some(self.consumer())
    }

    fn place(&self) -> Place {
        Place::JetStream {
            url: self.server.url(),
            consumer: self.consumer(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        self.server.held("out").await.context("no stream")
    }

    fn server(&self) -> Option<u32> {
        self.server.pid()
    }

    async fn check(&mut self) -> anyhow::Result<u64> {
        let outputs = self.outputs().await?;
        let mut found = self.out().await?;
        let mut seen = Seen::new(self.messages);
        for _ in 0..outputs {
            let output = timeout(PATIENCE, found.next()).await?;
            let output = output.context("an output is missing")?;
            seen.note(read(&output.map_err(|e| anyhow::anyhow!("{e}"))?.payload)?.0)?;
        }
        ensure!(seen.complete()? == 0, "outputs are there more than once");
        let depth = self.server.depth("in", &self.consumer()).await;
        let depth = depth.context("no consumer")?;
        ensure!(
            depth.waiting + depth.pending == 0,
            "messages are left: {depth:?}"
        );
        Ok(0)
    }
}
