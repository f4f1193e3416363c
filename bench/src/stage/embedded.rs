//! The embedded broker's file: filled once, and copied for each run.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use wharf::broker::embedded::Embedded;
use wharf::commit::Publication;
use wharf::config;
use wharf::message::{Header, Outgoing};
use wharf::ports::{Broker, Publisher};

use super::Stage;
use crate::hosts::Keys;
use crate::payload::{HEADERS, Seen, payload, read};
use crate::twin::{self, Place};

/// Messages in one publication while filling, and in one answer while checking.
const CHUNK: u64 = 1000;
/// Every run has a file of its own.
const GROUP: &str = "bench";

pub(crate) struct EmbeddedStage {
    folder: TempDir,
    messages: u64,
    run: u32,
    /// Another process's view of this run's file, opened when first asked.
    client: Option<Embedded>,
}

impl EmbeddedStage {
    /// A file with so many messages in `in`.
    pub(crate) async fn filled(messages: u64) -> anyhow::Result<Self> {
        let stage = Self {
            folder: tempfile::tempdir()?,
            messages,
            run: 0,
            client: None,
        };
        let broker = Embedded::open_client("b", &config::Embedded::new(stage.template()))?;
        let publisher = broker.publisher();
        let mut at = 0;
        while at < messages {
            let end = messages.min(at + CHUNK);
            publish(&*publisher, (at..end).map(|seq| payload(seq, 0))).await?;
            at = end;
        }
        broker.close().await;
        Ok(stage)
    }

    fn template(&self) -> PathBuf {
        self.folder.path().join("filled.db")
    }

    /// This run's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder
            .path()
            .join(format!("run-{}", self.run))
            .join("events.db")
    }

    fn client(&mut self) -> anyhow::Result<&Embedded> {
        let options = config::Embedded::new(self.file());
        Ok(match &mut self.client {
            Some(client) => client,
            none => none.insert(Embedded::open_client("b", &options)?),
        })
    }
}

/// Publishes to `in` and waits until all are confirmed.
pub(crate) async fn publish(
    publisher: &dyn Publisher,
    payloads: impl Iterator<Item = Vec<u8>>,
) -> anyhow::Result<()> {
    let to = twin::destination("in");
    let publications: Vec<Publication> = payloads
        .map(|payload| Publication {
            destination: to.clone(),
            message: Outgoing {
                headers: HEADERS
                    .iter()
                    .map(|(name, value)| Header::text(*name, *value))
                    .collect(),
                payload: payload.into(),
                ..Outgoing::default()
            },
        })
        .collect();
    let batch: Vec<&Publication> = publications.iter().collect();
    for result in publisher.publish(&batch).await {
        result?;
    }
    Ok(())
}

/// The numbers of the outputs in `out` from a sequence on, and the sequence after them.
async fn out_since(client: &Embedded, from: u64) -> anyhow::Result<(Vec<u64>, u64)> {
    let found = client.browse("out", from, CHUNK as usize).await?;
    let next = found.last().map_or(from, |last| last.seq + 1);
    let seqs = found.iter().map(|message| Ok(read(&message.payload)?.0));
    Ok((seqs.collect::<anyhow::Result<_>>()?, next))
}

/// Checks that `out` answers each of `0..messages` once.
pub(crate) async fn complete(client: &Embedded, messages: u64) -> anyhow::Result<()> {
    let mut seen = Seen::new(messages);
    let mut from = 0;
    loop {
        let (seqs, next) = out_since(client, from).await?;
        if seqs.is_empty() {
            break;
        }
        seqs.into_iter().try_for_each(|seq| seen.note(seq))?;
        from = next;
    }
    ensure!(seen.complete()? == 0, "outputs are there more than once");
    Ok(())
}

impl Stage for EmbeddedStage {
    const KEYS: Keys = Keys::both("topic");

    fn name(&self) -> &'static str {
        "embedded broker"
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        if let Some(client) = self.client.take() {
            client.close().await;
        }
        if let Some(old) = self.file().parent().filter(|old| old.exists()) {
            std::fs::remove_dir_all(old)?;
        }
        self.run += 1;
        let file = self.file();
        std::fs::create_dir(file.parent().unwrap_or(Path::new(".")))?;
        std::fs::copy(self.template(), &file).context("no file of messages")?;
        Ok(())
    }

    fn broker(&self) -> Value {
        json!({ "type": "embedded", "path": self.file() })
    }

    fn group(&self) -> Option<String> {
        Some(GROUP.into())
    }

    fn place(&self) -> Place {
        Place::embedded(&self.file())
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        Ok(self.client()?.last_seq("out").await?)
    }

    fn server(&self) -> Option<u32> {
        None
    }

    async fn check(&mut self) -> anyhow::Result<u64> {
        let messages = self.messages;
        let client = self.client()?;
        complete(client, messages).await?;
        let left = client.depth("in", GROUP).await?;
        ensure!(
            left.waiting + left.pending == 0,
            "messages are left: {left:?}"
        );
        Ok(0)
    }
}
