//! Lists, sorted sets and channels of Redis, with a `redis-server` and plain commands.
//!
//! What is published and read here is an envelope by `docs/wire/redis.md`, made and taken apart by hand.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{FromRedisValue, Value};
use serde_json::json;
use wharf::broker::redis::{Options, RedisBroker};
use wharf::message::Outgoing;
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, Capabilities};
use wharf_tests::count::Item;
use wharf_tests::redis_server::RedisServer;

use super::redis_streams::item;
use crate::subject::{Left, Subject};
use crate::table::{Headers, Nature};

/// Bytes sent in one go.
const PIECE: usize = 4 << 20;

/// Which of them.
pub(crate) trait Which: 'static {
    const KIND: PlaceKind;
    const COLUMN: &'static str;
}

pub(crate) struct Lists;
pub(crate) struct SortedSets;
pub(crate) struct Channels;

impl Which for Lists {
    const KIND: PlaceKind = PlaceKind::List;
    const COLUMN: &'static str = "Redis lists";
}

impl Which for SortedSets {
    const KIND: PlaceKind = PlaceKind::SortedSet;
    const COLUMN: &'static str = "Redis sorted sets";
}

impl Which for Channels {
    const KIND: PlaceKind = PlaceKind::Channel;
    const COLUMN: &'static str = "Redis channels";
}

pub(crate) type RedisLists = RedisPlaces<Lists>;
pub(crate) type RedisSortedSets = RedisPlaces<SortedSets>;
pub(crate) type RedisChannels = RedisPlaces<Channels>;

/// What was heard on each channel that was made. Only what somebody listens to is there to be counted.
type Heard = Arc<parking_lot::Mutex<HashMap<String, Vec<Bytes>>>>;

pub(crate) struct RedisPlaces<W> {
    server: RedisServer,
    /// While it is up.
    connection: Option<MultiplexedConnection>,
    listening: tokio::sync::Mutex<Option<PubSubSink>>,
    heard: Heard,
    which: PhantomData<W>,
}

impl<W: Which> RedisPlaces<W> {
    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        let mut connection = self.connection.clone().expect("a server that is up");
        cmd.query_async(&mut connection).await.expect("carried out")
    }

    /// Listens to every channel that was made before.
    async fn listen(&self) {
        let client = redis::Client::open(self.server.url()).expect("a url");
        let pubsub = client.get_async_pubsub().await.expect("connected");
        let (mut asks, mut said) = pubsub.split();
        let channels: Vec<String> = self.heard.lock().keys().cloned().collect();
        for channel in channels {
            asks.subscribe(channel).await.expect("subscribed");
        }
        *self.listening.lock().await = Some(asks);
        let heard = Arc::clone(&self.heard);
        tokio::spawn(async move {
            while let Some(message) = said.next().await {
                let value: Vec<u8> = message.get_payload().expect("bytes");
                let mut heard = heard.lock();
                let channel = heard.entry(message.get_channel_name().to_owned());
                channel.or_default().push(value.into());
            }
        });
    }

    /// What is kept beside a place.
    fn beside(place: &str, what: &str) -> String {
        format!("wharf:queue:{{{place}}}:{place}:{what}")
    }

    async fn kind_of(&self, place: &str) -> String {
        self.ask(&["TYPE", place]).await
    }
}

impl<W: Which> Subject for RedisPlaces<W> {
    type Elsewhere = Self;
    const COLUMN: &'static str = W::COLUMN;
    /// Four leases.
    const SLOW: Duration = Duration::from_secs(2);
    /// The lease, and 1.5 s to notice that it is over and to handle what was in hand.
    const TAKEOVER: Duration = Duration::from_secs(2);

    fn capabilities() -> Capabilities {
        let nowhere = Options::new("nowhere", "redis://127.0.0.1:1");
        let broker = RedisBroker::open(nowhere).expect("a good url");
        broker.capabilities(W::KIND)
    }

    fn nature() -> Nature {
        let keeps = W::KIND != PlaceKind::Channel;
        Nature {
            server: true,
            shared: keeps,
            deletable: keeps,
            obstructable: keeps,
            makes_destinations: true,
            keeps,
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
            listening: tokio::sync::Mutex::new(None),
            heard: Heard::default(),
            which: PhantomData,
        }
    }

    async fn up(&mut self) {
        self.server.run().await;
        self.connection = Some(self.server.client().await);
        if W::KIND == PlaceKind::Channel {
            self.listen().await;
        }
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
        format!("{}: {place}", W::KIND.key())
    }

    fn destination(&self, place: &str) -> String {
        format!("{}: {place}", W::KIND.key())
    }

    async fn create(&self, place: &str) {
        if let Some(asks) = &mut *self.listening.lock().await {
            self.heard.lock().entry(place.to_owned()).or_default();
            asks.subscribe(place).await.expect("subscribed");
        }
    }

    async fn publish(&self, to: &str, messages: &[Outgoing]) {
        let mut rest = messages;
        while !rest.is_empty() {
            let (mut pipe, mut bytes) = (redis::pipe(), 0);
            while let Some((message, behind)) = rest.split_first()
                && bytes < PIECE
            {
                let value = envelope(message);
                bytes += value.len();
                match W::KIND {
                    PlaceKind::List => pipe.cmd("LPUSH").arg(to).arg(value).ignore(),
                    PlaceKind::SortedSet => pipe.cmd("ZADD").arg(to).arg(1).arg(value).ignore(),
                    _ => pipe.cmd("PUBLISH").arg(to).arg(value).ignore(),
                };
                rest = behind;
            }
            let mut connection = self.connection.clone().expect("a server that is up");
            let () = pipe.query_async(&mut connection).await.expect("published");
        }
    }

    /// Dead letters lie in a stream, unless something else is said.
    async fn items(&self, place: &str) -> Vec<Item> {
        let values: Vec<Vec<u8>> = match &*self.kind_of(place).await {
            "stream" => {
                let entries = self.ask(&["XRANGE", place, "-", "+"]).await;
                let entries: Vec<(String, Vec<Vec<u8>>)> = entries;
                let entries = entries.into_iter();
                return entries
                    .map(|(id, fields)| item(id, pairs(fields)))
                    .collect();
            }
            "list" => {
                let mut values: Vec<Vec<u8>> = self.ask(&["LRANGE", place, "0", "-1"]).await;
                values.reverse();
                values
            }
            "zset" => self.ask(&["ZREVRANGE", place, "0", "-1"]).await,
            "none" => {
                let heard = self.heard.lock();
                let heard = heard.get(place).into_iter().flatten();
                heard.map(|value| value.to_vec()).collect()
            }
            other => panic!("{place} is a {other}"),
        };
        values.into_iter().map(|value| opened(&value)).collect()
    }

    async fn count(&self, place: &str) -> u64 {
        match &*self.kind_of(place).await {
            "stream" => self.ask(&["XLEN", place]).await,
            "list" => self.ask(&["LLEN", place]).await,
            "zset" => self.ask(&["ZCARD", place]).await,
            _ => self.heard.lock().get(place).map_or(0, Vec::len) as u64,
        }
    }

    async fn left(&self, place: &str, _group: &str) -> Left {
        let length = match W::KIND {
            PlaceKind::List => "LLEN",
            PlaceKind::SortedSet => "ZCARD",
            // Nothing is kept.
            _ => return Left::NOTHING,
        };
        // In one step, so that nothing is missed on its way from here to there.
        let mut pipe = redis::pipe();
        pipe.atomic().cmd(length).arg(place);
        pipe.cmd("HLEN").arg(Self::beside(place, "items"));
        pipe.cmd("HLEN").arg(Self::beside(place, "kept"));
        pipe.cmd("ZCARD").arg(Self::beside(place, "due"));
        let mut connection = self.connection.clone().expect("a server that is up");
        let counts: Vec<u64> = pipe.query_async(&mut connection).await.expect("counted");
        Left {
            waiting: counts[0],
            pending: counts[1],
            records: counts[2] + counts[3],
        }
    }

    /// The place, and all that is in hand of it.
    async fn delete(&self, place: &str) {
        let mut keys: Vec<String> = self.ask(&["KEYS", &Self::beside(place, "*")]).await;
        keys.push(place.to_owned());
        let words: Vec<&str> = std::iter::once("DEL")
            .chain(keys.iter().map(|k| &**k))
            .collect();
        let deleted: u64 = self.ask(&words).await;
        assert!(deleted > 0, "it was there");
    }

    async fn obstruct(&self, place: &str, on: bool) {
        let words: &[&str] = if on {
            &["SET", place, "something else"]
        } else {
            &["DEL", place]
        };
        let _done: Value = self.ask(words).await;
    }

    fn unpublishable() -> serde_json::Value {
        json!({ "delay_ms": 1000 })
    }
}

fn pairs(fields: Vec<Vec<u8>>) -> Vec<(Bytes, Bytes)> {
    let mut fields = fields.into_iter().map(Bytes::from);
    std::iter::from_fn(|| Some((fields.next()?, fields.next()?))).collect()
}

fn envelope(message: &Outgoing) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut put = |text: &[u8]| {
        fields.extend(format!("{}:", text.len()).bytes());
        fields.extend(text);
        fields.push(b',');
    };
    put(b"wharf-id");
    put(message.id.as_deref().expect("an id").as_bytes());
    if let Some(key) = &message.key {
        put(b"wharf-key");
        put(key);
    }
    for header in &message.headers {
        put(header.name.as_bytes());
        put(&header.value);
    }
    let head = format!("wharf/1 {}\n", fields.len());
    [head.as_bytes(), &fields, &message.payload].concat()
}

fn opened(value: &[u8]) -> Item {
    let value = Bytes::copy_from_slice(value);
    let rest = value.strip_prefix(b"wharf/1 ").expect("an envelope");
    let line = rest.iter().position(|b| *b == b'\n').expect("a head");
    let number = |text: &[u8]| -> usize {
        let text = std::str::from_utf8(text).expect("digits");
        text.parse().expect("a number")
    };
    let (mut fields, payload) = rest[line + 1..].split_at(number(&rest[..line]));
    let mut parts = Vec::new();
    while !fields.is_empty() {
        let colon = fields.iter().position(|b| *b == b':').expect("a netstring");
        let end = colon + 1 + number(&fields[..colon]);
        assert_eq!(fields[end], b',');
        parts.push(fields[colon + 1..end].to_vec());
        fields = &fields[end + 1..];
    }
    let mut all = pairs(parts);
    all.retain(|(name, _)| &name[..] != b"wharf-published");
    all.push(("payload".into(), Bytes::copy_from_slice(payload)));
    item("no id".to_owned(), all)
}
