//! A RabbitMQ of our own with one queue to read and one to publish to. What was read is gone, so it is filled anew
//! before each run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use wharf_tests::rabbit_server::RabbitServer;

use super::Stage;
use crate::hosts::Keys;
use crate::payload::{HEADERS, Seen, payload, read};
use crate::twin::Place;

/// Messages that are confirmed together while filling.
const CHUNK: u64 = 1000;
/// For one output that is there.
const PATIENCE: Duration = Duration::from_secs(20);

/// What both queues are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Quorum,
    Classic,
}

pub(crate) struct RabbitStage {
    server: RabbitServer,
    /// Open for as long as the channel is used.
    _connection: Connection,
    channel: Channel,
    kind: Kind,
    pid: u32,
    folder: TempDir,
    messages: u64,
}

impl RabbitStage {
    /// A server with both queues, empty.
    pub(crate) async fn start(kind: Kind, messages: u64) -> anyhow::Result<Self> {
        let server = RabbitServer::start().await;
        let word = match kind {
            Kind::Quorum => "quorum",
            Kind::Classic => "classic",
        };
        for queue in ["in", "out"] {
            server.declare(queue, word, &[]).await;
        }
        let (connection, channel) = server.client().await;
        let pid = server.ctl(&["eval", "os:getpid()."]).await;
        let pid = pid.trim().trim_matches('"').parse();
        Ok(Self {
            pid: pid.context("no process")?,
            server,
            _connection: connection,
            channel,
            kind,
            folder: tempfile::tempdir()?,
            messages,
        })
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A client of somebody else's: a channel that confirms, open for as long as both live.
    pub(crate) async fn another_client(&self) -> (Connection, Channel) {
        self.server.client().await
    }

    async fn ready(&self, queue: &str) -> anyhow::Result<u64> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = self
            .channel
            .queue_declare(queue.into(), passive, FieldTable::default())
            .await?;
        Ok(found.message_count().into())
    }

    async fn fill(&self) -> anyhow::Result<()> {
        let properties = properties();
        let mut at = 0;
        while at < self.messages {
            let end = self.messages.min(at + CHUNK);
            let mut confirmations = Vec::with_capacity(CHUNK as usize);
            for seq in at..end {
                let options = BasicPublishOptions::default();
                let payload = payload(seq, 0);
                let sent = self.channel.basic_publish(
                    "".into(),
                    "in".into(),
                    options,
                    &payload,
                    properties.clone(),
                );
                confirmations.push(sent.await?);
            }
            for confirmation in confirmations {
                let confirmed = confirmation.await?;
                ensure!(
                    matches!(confirmed, Confirmation::Ack(None)),
                    "{confirmed:?}"
                );
            }
            at = end;
        }
        Ok(())
    }
}

/// What stands beside every payload: that it is kept, and the headers.
pub(crate) fn properties() -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in HEADERS {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_headers(headers)
}

impl Stage for RabbitStage {
    const KEYS: Keys = Keys::both("queue");

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Quorum => "RabbitMQ quorum queue",
            Kind::Classic => "RabbitMQ classic queue",
        }
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        for queue in ["in", "out"] {
            self.server.purge(queue).await;
        }
        self.fill().await
    }

    fn broker(&self) -> serde_json::Value {
        json!({ "type": "rabbitmq", "url": self.server.url() })
    }

    fn place(&self) -> Place {
        Place::RabbitMq {
            url: self.server.url(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        self.ready("out").await
    }

    fn server(&self) -> Option<u32> {
        Some(self.pid)
    }

    async fn check(&mut self) -> anyhow::Result<u64> {
        let outputs = self.outputs().await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let channel = self.another_client().await;
        let mut consumer = channel
            .1
            .basic_consume("out".into(), "check".into(), options, FieldTable::default())
            .await?;
        let mut seen = Seen::new(self.messages);
        for _ in 0..outputs {
            let output = timeout(PATIENCE, consumer.next()).await?;
            let output = output.context("an output is missing")??;
            seen.note(read(&output.data)?.0)?;
        }
        ensure!(seen.complete()? == 0, "outputs are there more than once");
        // Whoever read it is gone: what was not acknowledged is ready again.
        let depth = self.server.depth("in").await.context("no queue")?;
        ensure!(
            depth.ready + depth.unacked == 0,
            "messages are left: {depth:?}"
        );
        Ok(0)
    }
}
