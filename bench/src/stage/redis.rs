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
const CHUNK: u64 = 1000;

pub(crate) struct RedisStage {
    server: RedisServer,
    connection: MultiplexedConnection,
    pid: u32,
    folder: TempDir,
    messages: u64,
    run: u32,
}

/// An entry as XRANGE answers it: its id, and its fields with their values.
type Entry = (String, Vec<(Vec<u8>, Vec<u8>)>);

impl RedisStage {
    /// A server with so many messages in `in`.
    pub(crate) async fn filled(messages: u64) -> anyhow::Result<Self> {
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
        let mut at = 0;
        while at < messages {
            let mut pipe = redis::pipe();
            let end = messages.min(at + CHUNK);
            for seq in at..end {
                pipe.add_command(xadd("in", payload(seq, 0))).ignore();
            }
            let () = pipe.query_async(&mut connection).await?;
            at = end;
        }
        Ok(Self {
            server,
            connection,
            pid,
            folder: tempfile::tempdir()?,
            messages,
            run: 0,
        })
    }

    pub(crate) fn client(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// A connection that may be blocked.
    pub(crate) async fn another_client(&self) -> MultiplexedConnection {
        self.server.client().await
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
                .arg(self.group())
                .query_async(&mut self.connection)
                .await?;
        }
        let _there: Value = redis::cmd("DEL")
            .arg("out")
            .query_async(&mut self.connection)
            .await?;
        self.run += 1;
        Ok(())
    }

    fn broker(&self) -> serde_json::Value {
        json!({ "type": "redis", "url": self.server.url() })
    }

    fn group(&self) -> String {
        format!("bench-{}", self.run)
    }

    fn place(&self) -> Place {
        Place::Redis {
            url: self.server.url(),
            group: self.group(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        Ok(redis::cmd("XLEN")
            .arg("out")
            .query_async(&mut self.connection)
            .await?)
    }

    fn server(&self) -> Option<u32> {
        Some(self.pid)
    }

    async fn check(&mut self) -> anyhow::Result<()> {
        let mut seen = Seen::new(self.messages);
        let mut from = "-".to_owned();
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg("out").arg(&from).arg("+").arg("COUNT").arg(CHUNK);
            let entries: Vec<Entry> = range.query_async(&mut self.connection).await?;
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
            .arg(self.group())
            .query_async(&mut self.connection)
            .await?;
        let Value::Array(pending) = pending else {
            anyhow::bail!("no answer to XPENDING")
        };
        ensure!(
            pending.first() == Some(&Value::Int(0)),
            "entries are left pending: {pending:?}"
        );
        Ok(())
    }
}
