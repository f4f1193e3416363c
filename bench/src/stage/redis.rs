//! A Redis server of our own, without persistence. The stream is filled once; each run reads it as a new group.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use serde_json::json;
use tempfile::TempDir;
use wharf_tests::redis_server::RedisServer;

use super::Stage;
use crate::hosts::Keys;
use crate::payload::{HEADERS, Seen, payload, read};
use crate::twin::Place;

/// Commands in one pipeline while filling, and entries in one answer while checking.
pub(super) const CHUNK: u64 = 1000;

/// The server and one connection to it.
pub(super) struct Server {
    server: RedisServer,
    pub(super) connection: MultiplexedConnection,
    pub(super) pid: u32,
}

pub(crate) struct RedisStage {
    server: Server,
    folder: TempDir,
    messages: u64,
    run: u32,
}

/// An entry as XRANGE answers it: its id, and its fields with their values.
type Entry = (String, Vec<(Vec<u8>, Vec<u8>)>);

impl Server {
    /// An empty one.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let server = RedisServer::start().await;
        let mut connection = server.client().await;
        let info: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await?;
        let pid = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"));
        let pid = pid.context("INFO names no process")?.trim().parse()?;
        Ok(Self {
            server,
            connection,
            pid,
        })
    }

    /// Carries out a command for each of so many messages.
    pub(super) async fn fill(
        &mut self,
        messages: u64,
        command: impl Fn(u64) -> Cmd,
    ) -> anyhow::Result<()> {
        let mut at = 0;
        while at < messages {
            let mut pipe = redis::pipe();
            let end = messages.min(at + CHUNK);
            for seq in at..end {
                pipe.add_command(command(seq)).ignore();
            }
            let () = pipe.query_async(&mut self.connection).await?;
            at = end;
        }
        Ok(())
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// A connection that may be blocked.
    pub(super) async fn another_client(&self) -> MultiplexedConnection {
        self.server.client().await
    }
}

impl RedisStage {
    /// A server with so many messages in `in`.
    pub(crate) async fn filled(messages: u64) -> anyhow::Result<Self> {
        let mut server = Server::start().await?;
        let add = |seq| xadd("in", payload(seq, 0));
        server.fill(messages, add).await?;
        Ok(Self {
            server,
            folder: tempfile::tempdir()?,
            messages,
            run: 0,
        })
    }

    /// This run's group.
    fn group_name(&self) -> String {
        format!("bench-{}", self.run)
    }

    pub(crate) fn client(&self) -> MultiplexedConnection {
        self.server.connection.clone()
    }

    /// A connection that may be blocked.
    pub(crate) async fn another_client(&self) -> MultiplexedConnection {
        self.server.another_client().await
    }
}

/// Adds a message with its headers.
pub(crate) fn xadd(stream: &str, payload: Vec<u8>) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*").arg("payload").arg(payload);
    for (name, value) in HEADERS {
        add.arg(name).arg(value);
    }
    add
}

impl Stage for RedisStage {
    const KEYS: Keys = Keys::both("stream");

    fn name(&self) -> &'static str {
        "Redis streams"
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        if self.run > 0 {
            let _there: Value = redis::cmd("XGROUP")
                .arg("DESTROY")
                .arg("in")
                .arg(self.group_name())
                .query_async(&mut self.server.connection)
                .await?;
        }
        let _there: Value = redis::cmd("DEL")
            .arg("out")
            .query_async(&mut self.server.connection)
            .await?;
        self.run += 1;
        Ok(())
    }

    fn broker(&self) -> serde_json::Value {
        json!({ "type": "redis", "url": self.server.url() })
    }

    fn group(&self) -> Option<String> {
        Some(self.group_name())
    }

    fn place(&self) -> Place {
        Place::Redis {
            url: self.server.url(),
            group: self.group_name(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        Ok(redis::cmd("XLEN")
            .arg("out")
            .query_async(&mut self.server.connection)
            .await?)
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.pid)
    }

    async fn check(&mut self) -> anyhow::Result<u64> {
        let mut seen = Seen::new(self.messages);
        let mut from = "-".to_owned();
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg("out").arg(&from).arg("+").arg("COUNT").arg(CHUNK);
            let entries: Vec<Entry> = range.query_async(&mut self.server.connection).await?;
            let Some((last, _)) = entries.last() else {
                break;
            };
            from = format!("({last}");
            for (_, fields) in &entries {
                let payload = fields
                    .iter()
                    .find(|(name, _)| name == b"payload")
                    .context("an output without payload")?;
                seen.note(read(&payload.1)?.0)?;
            }
        }
        ensure!(seen.complete()? == 0, "outputs are there more than once");
        let pending: Value = redis::cmd("XPENDING")
            .arg("in")
            .arg(self.group_name())
            .query_async(&mut self.server.connection)
            .await?;
        let Value::Array(pending) = pending else {
            anyhow::bail!("no answer to XPENDING")
        };
        ensure!(
            pending.first() == Some(&Value::Int(0)),
            "entries are left pending: {pending:?}"
        );
        Ok(0)
    }
}
