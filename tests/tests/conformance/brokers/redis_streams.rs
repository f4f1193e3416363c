//! Redis streams, with a `redis-server` and plain commands.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Value};
use serde_json::json;
use wharf::broker::redis::{Options, RedisBroker};
use wharf::message::{Header, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, Capabilities};
use wharf_tests::count::Item;
use wharf_tests::redis_server::RedisServer;

use crate::subject::{Left, Subject};
use crate::table::{Headers, Nature};

/// Bytes sent in one go.
const PIECE: usize = 4 << 20;

pub(crate) struct RedisStreams {
    server: RedisServer,
    /// While it is up.
    connection: Option<MultiplexedConnection>,
}

impl RedisStreams {
    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        let connection = self.connection.as_ref().expect("a server that is up");
        cmd.query_async(&mut connection.clone()).await
    }

    /// The fields of every entry, in order.
    async fn entries(&self, stream: &str, from: &str) -> Vec<(String, Vec<(Bytes, Bytes)>)> {
        let entries = self.ask(&["XRANGE", stream, from, "+"]).await;
        let entries: Vec<(String, Vec<Vec<u8>>)> = entries.expect("a range");
        let pairs = |fields: Vec<Vec<u8>>| {
            let mut fields = fields.into_iter().map(Bytes::from);
            let pair = || Some((fields.next()?, fields.next()?));
            std::iter::from_fn(pair).collect()
        };
        entries.into_iter().map(|(id, f)| (id, pairs(f))).collect()
    }
}

impl Subject for RedisStreams {
    type Elsewhere = Self;
    const COLUMN: &'static str = "Redis streams";
    /// Four leases.
    const SLOW: Duration = Duration::from_secs(2);
    /// The lease, and 1.5 s to notice that it is over and to handle what was in hand.
    const TAKEOVER: Duration = Duration::from_secs(2);

    fn capabilities() -> Capabilities {
        let nowhere = Options::new("nowhere", "redis://127.0.0.1:1");
        let broker = RedisBroker::open(nowhere).expect("a good url");
        broker.capabilities(PlaceKind::Stream)
    }

    fn nature() -> Nature {
        Nature {
            server: true,
            shared: true,
            deletable: true,
            obstructable: true,
            makes_destinations: true,
            keeps: true,
            headers: Headers {
                repeat: true,
                any_bytes: true,
                nameless: true,
            },
        }
    }

    fn place(_folder: &Path) -> Self {
        // The server has a folder of its own.
        Self {
            server: RedisServer::absent_durable(),
            connection: None,
        }
    }

    async fn up(&mut self) {
        self.server.run().await;
        self.connection = Some(self.server.client().await);
    }

    fn down(&mut self) {
        self.connection = None;
        self.server.kill();
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    fn broker(&self, port: Option<u16>) -> String {
        let url = RedisServer::url_by(port.unwrap_or(self.server.port()));
        format!("{{ type: redis, url: \"{url}\", lease: 500ms, connect_timeout: 1s }}")
    }

    fn source(&self, place: &str) -> String {
        format!("stream: {place}")
    }

    fn destination(&self, place: &str) -> String {
        format!("stream: {place}")
    }

    async fn create(&self, _place: &str) {}

    async fn publish(&self, to: &str, messages: &[Outgoing]) {
        let mut rest = messages;
        while !rest.is_empty() {
            let (mut pipe, mut bytes) = (redis::pipe(), 0);
            while let Some((message, behind)) = rest.split_first()
                && bytes < PIECE
            {
                pipe.cmd("XADD").arg(to).arg("*");
                pipe.arg("wharf-id")
                    .arg(message.id.as_deref().expect("an id"));
                if let Some(key) = &message.key {
                    pipe.arg("wharf-key").arg(&key[..]);
                }
                for header in &message.headers {
                    pipe.arg(&*header.name).arg(&header.value[..]);
                }
                pipe.arg("payload").arg(&message.payload[..]).ignore();
                bytes += message.payload.len();
                rest = behind;
            }
            let mut connection = self.connection.clone().expect("a server that is up");
            let () = pipe.query_async(&mut connection).await.expect("published");
        }
    }

    async fn items(&self, place: &str) -> Vec<Item> {
        let entries = self.entries(place, "-").await;
        entries
            .into_iter()
            .map(|(id, fields)| item(id, fields))
            .collect()
    }

    async fn count(&self, place: &str) -> u64 {
        self.ask(&["XLEN", place]).await.expect("a length")
    }

    async fn left(&self, place: &str, group: &str) -> Left {
        let records = format!("wharf:attempts:{{{place}}}:{place}:{group}");
        let records = self.ask(&["HLEN", &records]).await.expect("a length");
        let groups: redis::RedisResult<Vec<std::collections::HashMap<String, Value>>> =
            self.ask(&["XINFO", "GROUPS", place]).await;
        let groups = groups.unwrap_or_else(|e| {
            // No stream, no groups.
            assert!(e.to_string().contains("no such key"), "{e}");
            Vec::new()
        });
        let name = |group: &std::collections::HashMap<String, Value>| {
            String::from_redis_value_ref(&group["name"]).expect("a name")
        };
        let Some(found) = groups.iter().find(|found| name(found) == group) else {
            return Left {
                waiting: self.count(place).await,
                pending: 0,
                records,
            };
        };
        let last = String::from_redis_value_ref(&found["last-delivered-id"]).expect("an id");
        Left {
            // The server's own `lag` is not known once an entry in the middle was deleted.
            waiting: self.entries(place, &format!("({last}")).await.len() as u64,
            pending: u64::from_redis_value_ref(&found["pending"]).expect("a number"),
            records,
        }
    }

    async fn delete(&self, place: &str) {
        let deleted: u64 = self.ask(&["DEL", place]).await.expect("deleted");
        assert_eq!(deleted, 1, "it was there");
    }

    async fn obstruct(&self, place: &str, on: bool) {
        let words: &[&str] = if on {
            &["SET", place, "not a stream"]
        } else {
            &["DEL", place]
        };
        let _done: Value = self.ask(words).await.expect("carried out");
    }

    fn unpublishable() -> serde_json::Value {
        json!({ "delay_ms": 1000 })
    }
}

/// An entry as any client sees it, by `docs/wire/redis.md`.
pub(super) fn item(id: String, fields: Vec<(Bytes, Bytes)>) -> Item {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut item = Item {
        id,
        key: None,
        headers: Vec::new(),
        payload: Bytes::new(),
    };
    for (name, value) in fields {
        match &*name {
            b"wharf-id" => item.id = text(&value),
            b"wharf-key" => item.key = Some(value),
            b"payload" => item.payload = value,
            _ => item.headers.push(Header {
                name: text(&name).into(),
                value,
            }),
        }
    }
    item
}
