//! A NATS server of our own. A subject outside of streams keeps nothing, so messages are published while they are read,
//! and outputs are kept as they come: see [`Feed`].

mod feed;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use async_nats::{Client, HeaderMap};
use serde_json::json;
use tempfile::TempDir;
use wharf_tests::nats_server::NatsServer;

use self::feed::Feed;
use super::{Stage, header_map};
use crate::hosts::Keys;
use crate::payload::{Seen, read};
use crate::twin::Place;

/// One message in so many may be lost. More than are ever under way at once fit everywhere, so that a contender that
/// loses more has not done the work.
const ONE_IN: u64 = 1000;

pub(crate) struct CoreNatsStage {
    server: NatsServer,
    client: Client,
    folder: TempDir,
    messages: u64,
    run: u32,
    feed: Option<Feed>,
}

impl CoreNatsStage {
    /// A server, for runs of so many outputs.
    pub(crate) async fn start(messages: u64) -> anyhow::Result<Self> {
        let server = NatsServer::start().await;
        Ok(Self {
            client: server.client().await,
            server,
            folder: tempfile::tempdir()?,
            messages,
            run: 0,
            feed: None,
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// This run's queue group.
    fn queue_group(&self) -> String {
        format!("bench-{}", self.run)
    }

    fn feed(&mut self) -> anyhow::Result<&mut Feed> {
        self.feed.as_mut().context("nothing is published yet")
    }
}

/// The headers of a message and its id.
pub(crate) fn with_id(seq: u64) -> HeaderMap {
    let mut headers = header_map();
    headers.insert("wharf-id", format!("m-{seq}"));
    headers
}

impl Stage for CoreNatsStage {
    const KEYS: Keys = Keys {
        source: "subject",
        destination: "subject",
        core: true,
    };
    const MAY_LOSE: bool = true;

    fn name(&self) -> &'static str {
        "core NATS"
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        self.feed = None;
        self.run += 1;
        Ok(())
    }

    async fn begin(&mut self) -> anyhow::Result<()> {
        let mut feed = Feed::open(&self.client).await?;
        feed.answered(&self.client).await?;
        if self.messages > 0 {
            feed.publish(&self.client, self.messages);
            self.feed = Some(feed);
        }
        Ok(())
    }

    fn broker(&self) -> serde_json::Value {
        json!({ "type": "nats", "url": self.server.url() })
    }

    fn group(&self) -> Option<String> {
        Some(self.queue_group())
    }

    fn place(&self) -> Place {
        Place::CoreNats {
            url: self.server.url(),
            group: self.queue_group(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        self.feed()?.outputs()
    }

    fn server(&self) -> Option<u32> {
        self.server.pid()
    }

    async fn check(&mut self) -> anyhow::Result<u64> {
        let (published, outputs) = self.feed()?.ended()?;
        let mut seen = Seen::new(published);
        for output in &outputs {
            seen.note(read(output)?.0)?;
        }
        ensure!(seen.repeated() == 0, "outputs are there more than once");
        let lost = seen.missing();
        ensure!(
            lost <= published / ONE_IN,
            "{lost} of {published} messages were lost"
        );
        Ok(lost)
    }
}
