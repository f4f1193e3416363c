//! A Redis server of our own, without persistence. What was read from a list is gone, so `in` is a copy of a list that is
//! filled once.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use serde_json::json;
use tempfile::TempDir;

use super::Stage;
use super::redis::{CHUNK, Server};
use crate::envelope::{self, Envelope};
use crate::hosts::Keys;
use crate::payload::{HEADERS, Seen, payload, read};
use crate::twin::{PROCESSING, Place};

/// Holds what `in` is a copy of.
const FILLED: &str = "filled";
/// Where the host keeps what it has not settled.
const ITEMS: &str = "wharf:queue:{in}:in:items";

pub(crate) struct RedisListsStage {
    server: Server,
    folder: TempDir,
    messages: u64,
}

impl RedisListsStage {
    /// A server with so many messages to copy.
    pub(crate) async fn filled(messages: u64) -> anyhow::Result<Self> {
        let mut server = Server::start().await?;
        let push = |seq| lpush(FILLED, seq, &payload(seq, 0));
        server.fill(messages, push).await?;
        Ok(Self {
            server,
            folder: tempfile::tempdir()?,
            messages,
        })
    }

    pub(crate) fn client(&self) -> MultiplexedConnection {
        self.server.connection.clone()
    }

    /// A connection that may be blocked.
    pub(crate) async fn another_client(&self) -> MultiplexedConnection {
        self.server.another_client().await
    }

    async fn number(&self, command: &str, key: &str) -> anyhow::Result<u64> {
        let mut connection = self.client();
        let mut asked = redis::cmd(command);
        Ok(asked.arg(key).query_async(&mut connection).await?)
    }
}

/// Puts a message with its id and its headers to the left end of a list.
pub(crate) fn lpush(list: &str, seq: u64, payload: &[u8]) -> Cmd {
    let id = format!("m-{seq}");
    let headers = HEADERS.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let fields = [(envelope::ID, id.as_bytes())].into_iter().chain(headers);
    let mut push = redis::cmd("LPUSH");
    push.arg(list).arg(envelope::write(fields, payload));
    push
}

impl Stage for RedisListsStage {
    const KEYS: Keys = Keys::both("list");

    fn name(&self) -> &'static str {
        "Redis lists"
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        let mut pipe = redis::pipe();
        pipe.cmd("DEL").arg("in").arg("out").ignore();
        pipe.cmd("COPY").arg(FILLED).arg("in").ignore();
        let () = pipe.query_async(&mut self.server.connection).await?;
        Ok(())
    }

    fn broker(&self) -> serde_json::Value {
        json!({ "type": "redis", "url": self.server.url() })
    }

    fn place(&self) -> Place {
        Place::RedisLists {
            url: self.server.url(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        self.number("LLEN", "out").await
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.pid)
    }

    async fn check(&mut self) -> anyhow::Result<u64> {
        let mut seen = Seen::new(self.messages);
        let outputs = self.outputs().await?;
        for from in (0..outputs).step_by(CHUNK as usize) {
            let mut range = redis::cmd("LRANGE");
            range.arg("out").arg(from).arg(from + CHUNK - 1);
            let answer = range.query_async(&mut self.server.connection).await?;
            let Value::Array(values) = answer else {
                anyhow::bail!("no answer to LRANGE")
            };
            for value in values {
                let Value::BulkString(value) = value else {
                    anyhow::bail!("no value")
                };
                let opened = Envelope::open(&value).context("an output")?;
                seen.note(read(opened.payload)?.0)?;
            }
        }
        ensure!(seen.complete()? == 0, "outputs are there more than once");
        for (command, key) in [("LLEN", "in"), ("LLEN", PROCESSING), ("HLEN", ITEMS)] {
            let left = self.number(command, key).await?;
            ensure!(left == 0, "{left} messages are left in {key}");
        }
        Ok(0)
    }
}
