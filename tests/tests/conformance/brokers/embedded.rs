//! The embedded broker: written by `wharf publish`, read as the SQLite file it is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::{Buf, Bytes};
use data_encoding::BASE64;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use wharf::broker::embedded as adapter;
use wharf::config;
use wharf::message::{Header, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, Capabilities};
use wharf_tests::count::Item;
use wharf_tests::host::program;

use super::redis_streams::RedisStreams;
use crate::subject::{Left, Subject};
use crate::table::{Headers, Nature};

/// The largest message this file takes, so that a larger one is soon made.
const LARGEST: &str = "8MiB";

pub(crate) struct Embedded {
    folder: PathBuf,
}

impl Embedded {
    fn file(&self) -> PathBuf {
        self.folder.join("wharf.db")
    }

    /// Asks the file; `T::default()` before there are tables in it.
    fn ask<T: Default>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
        if !self.file().exists() {
            return T::default();
        }
        let asked = || {
            let file = Connection::open_with_flags(self.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            file.busy_timeout(Duration::from_secs(5))?;
            let version: u32 = file.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version == 0 {
                return Ok(T::default());
            }
            ask(&file)
        };
        asked().expect("a file that can be read")
    }
}

impl Subject for Embedded {
    /// A file is not away. What is read from it can be sent to a server that is.
    type Elsewhere = RedisStreams;
    const COLUMN: &'static str = "embedded topics";
    /// Its patience has no end.
    const SLOW: Duration = Duration::MAX;
    /// There is no other host.
    const TAKEOVER: Duration = Duration::MAX;

    fn capabilities() -> Capabilities {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = config::Embedded::new(folder.path().join("wharf.db"));
        let broker = adapter::Embedded::open_client("nowhere", &options).expect("a file");
        broker.capabilities(PlaceKind::Topic)
    }

    fn nature() -> Nature {
        Nature {
            server: false,
            shared: false,
            deletable: false,
            obstructable: false,
            makes_destinations: true,
            keeps: true,
            headers: Headers {
                repeat: true,
                any_bytes: true,
                nameless: true,
            },
        }
    }

    fn place(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    async fn up(&mut self) {
        let text = format!("version: 1\nbrokers:\n  b: {}\n", self.broker(None));
        std::fs::write(self.folder.join("wharf.yaml"), text).expect("written");
    }

    fn down(&mut self) {
        panic!("a file does not run");
    }

    fn port(&self) -> u16 {
        panic!("a file has no port");
    }

    fn broker(&self, _port: Option<u16>) -> String {
        format!(
            "{{ type: embedded, path: {:?}, max_message: {LARGEST} }}",
            self.file()
        )
    }

    fn source(&self, place: &str) -> String {
        format!("topic: {place}")
    }

    fn destination(&self, place: &str) -> String {
        format!("topic: {place}")
    }

    async fn create(&self, _place: &str) {}

    async fn publish(&self, to: &str, messages: &[Outgoing]) {
        let mut child = Command::new(program())
            .args(["publish", "b", to, "--file", "-", "--config"])
            .arg(self.folder.join("wharf.yaml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut input = child.stdin.take().expect("piped");
        let text: String = messages.iter().map(line).collect();
        input.write_all(text.as_bytes()).await.expect("written");
        drop(input);
        let done = child.wait_with_output().await.expect("ended");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "published: {said}");
    }

    async fn items(&self, place: &str) -> Vec<Item> {
        self.ask(|file| {
            file.prepare(
                "SELECT message_id, key, headers, payload FROM messages JOIN topics t ON t.id = messages.id >> 40
                 WHERE t.name = ?1 ORDER BY messages.id",
            )?
            .query_map([place], item)?
            .collect()
        })
    }

    async fn count(&self, place: &str) -> u64 {
        self.ask(|file| {
            let sql = "SELECT last_seq FROM topics WHERE name = ?1";
            let last = file.query_row(sql, [place], number).optional()?;
            Ok(last.unwrap_or(0))
        })
    }

    async fn left(&self, place: &str, group: &str) -> Left {
        self.ask(|file| {
            let sql = "SELECT t.id, t.last_seq, g.id, coalesce(g.cursor, 0) FROM topics t
                       LEFT JOIN groups g ON g.topic = t.id AND g.name = ?2 WHERE t.name = ?1";
            let found = file.query_row(sql, params![place, group], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            });
            let Some((topic, last, group, cursor)): Option<(i64, i64, Option<i64>, i64)> =
                found.optional()?
            else {
                return Ok(Left::default());
            };
            let waiting = "SELECT count(*) FROM messages WHERE id > ?1 AND id <= ?2 AND apart = 0";
            let range = [topic << 40 | cursor, topic << 40 | last];
            let pending = "SELECT count(*) FROM pending WHERE grp = ?1";
            Ok(Left {
                waiting: file.query_row(waiting, range, number)?,
                pending: file.query_row(pending, [group], number)?,
                records: 0,
            })
        })
    }

    async fn delete(&self, _place: &str) {
        panic!("topics are not deleted");
    }

    async fn obstruct(&self, _place: &str, _on: bool) {
        panic!("a topic takes everything");
    }

    fn unpublishable() -> serde_json::Value {
        json!({ "size": 9 << 20 })
    }
}

fn number(row: &Row<'_>) -> rusqlite::Result<u64> {
    row.get::<_, i64>(0).map(i64::unsigned_abs)
}

fn bytes(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Bytes>> {
    let found: Option<Vec<u8>> = row.get(at)?;
    Ok(found.map(Bytes::from))
}

/// A message as `wharf publish` reads it.
fn line(message: &Outgoing) -> String {
    let header = |h: &Header| json!({ "name": &*h.name, "value_base64": BASE64.encode(&h.value) });
    let headers: Vec<_> = message.headers.iter().map(header).collect();
    let mut line = json!({
        "id": message.id.as_deref(),
        "headers": headers,
        "payload_base64": BASE64.encode(&message.payload),
    });
    if let Some(key) = &message.key {
        line["key_base64"] = BASE64.encode(key).into();
    }
    format!("{line}\n")
}

/// A row as any client of SQLite sees it, by `docs/wire/embedded.md`.
fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let mut packed: Bytes = bytes(row, 2)?.unwrap_or_default();
    let mut headers = Vec::new();
    while packed.has_remaining() {
        let name = piece(&mut packed);
        headers.push(Header {
            name: String::from_utf8(name.to_vec()).expect("UTF-8").into(),
            value: piece(&mut packed),
        });
    }
    Ok(Item {
        id: row.get(0)?,
        key: bytes(row, 1)?,
        headers,
        payload: bytes(row, 3)?.unwrap_or_default(),
    })
}

/// Bytes behind their length as unsigned LEB128.
fn piece(packed: &mut Bytes) -> Bytes {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = packed.get_u8();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return packed.split_to(length);
        }
    }
}
