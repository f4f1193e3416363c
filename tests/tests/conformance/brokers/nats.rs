//! NATS, with a `nats-server` and a plain client. Streams of JetStream and subjects outside of streams are subjects of their
//! own: what is not in a stream is kept by nobody.
//!
//! Outside of streams a client listens to everything from the start, so that what is published to a subject reaches somebody.
//! Dead letters lie in a stream there too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use serde_json::json;
use wharf::broker::nats::NatsBroker;
use wharf::config::nats::Nats as Config;
use wharf::message::{Header, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, Capabilities};
use wharf_tests::count::Item;
use wharf_tests::nats_server::NatsServer;

use crate::subject::{Left, Subject};
use crate::table::{Headers, Nature};

/// Larger than the largest message of the scenarios.
const CONFIG: &str = "max_payload: 8MB";
/// The stream of all dead letters, beside subjects outside of streams.
const LETTERS: &str = "DLQ";

/// What came to subjects outside of streams.
type Heard = Arc<Mutex<BTreeMap<String, Vec<Item>>>>;

/// A server, and whether everything on it lies in streams.
pub(crate) struct Nats<const STREAMS: bool> {
    server: NatsServer,
    /// Connects again by itself.
    client: Option<Client>,
    heard: Heard,
}

pub(crate) type Core = Nats<false>;
pub(crate) type JetStream = Nats<true>;

/// A place is the subject of a stream that is named after it.
fn stream_of(place: &str) -> String {
    place.replace('.', "-")
}

impl<const STREAMS: bool> Nats<STREAMS> {
    fn client(&self) -> Client {
        self.client.clone().expect("a server that is up")
    }

    /// The stream in which a place is looked for.
    fn kept(place: &str) -> Option<String> {
        match STREAMS {
            true => Some(stream_of(place)),
            false => place.starts_with("dlq.").then(|| LETTERS.to_owned()),
        }
    }

    /// Listens to what hosts publish past the streams.
    async fn listen(&self) {
        let (client, heard) = (self.client(), Arc::clone(&self.heard));
        let mut all = client.subscribe(">").await.expect("subscribed");
        client.flush().await.expect("flushed");
        tokio::spawn(async move {
            while let Some(message) = all.next().await {
                let place = message.subject.to_string();
                if place.starts_with("out.") || place.starts_with("absent.") {
                    let item = item(&message);
                    heard.lock().entry(place).or_default().push(item);
                }
            }
        });
    }
}

impl<const STREAMS: bool> Subject for Nats<STREAMS> {
    type Elsewhere = Self;
    const COLUMN: &'static str = if STREAMS {
        "NATS JetStream"
    } else {
        "NATS subjects"
    };
    /// Four times `ack_wait`.
    const SLOW: Duration = Duration::from_secs(4);
    /// `ack_wait`, and 3 s.
    const TAKEOVER: Duration = Duration::from_secs(4);

    fn capabilities() -> Capabilities {
        let nowhere = Config::new("nats://127.0.0.1:1");
        let broker = NatsBroker::open("nowhere", &nowhere).expect("a good url");
        broker.capabilities(if STREAMS {
            PlaceKind::Stream
        } else {
            PlaceKind::Subject
        })
    }

    fn nature() -> Nature {
        Nature {
            server: true,
            shared: true,
            deletable: STREAMS,
            obstructable: STREAMS,
            makes_destinations: !STREAMS,
            keeps: STREAMS,
            headers: Headers {
                repeat: true,
                any_bytes: true,
                nameless: true,
            },
        }
    }

    fn place(_folder: &Path) -> Self {
        Self {
            server: NatsServer::absent(CONFIG),
            client: None,
            heard: Heard::default(),
        }
    }

    async fn up(&mut self) {
        self.server.run().await;
        if self.client.is_none() {
            self.client = Some(self.server.client().await);
            if !STREAMS {
                self.server.stream(LETTERS, &["dlq.>"]).await;
                self.listen().await;
            }
        }
    }

    fn down(&mut self) {
        self.server.kill();
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    fn broker(&self, port: Option<u16>) -> String {
        let url = NatsServer::url_by(port.unwrap_or(self.server.port()));
        format!("{{ type: nats, url: \"{url}\", ack_wait: 1s, connect_timeout: 1s }}")
    }

    fn source(&self, place: &str) -> String {
        match STREAMS {
            true => format!("stream: {}", stream_of(place)),
            false => format!("subject: {place}"),
        }
    }

    fn destination(&self, place: &str) -> String {
        match STREAMS {
            true => format!("subject: {place}"),
            false => format!("subject: {place}, core: true"),
        }
    }

    async fn create(&self, place: &str) {
        if STREAMS {
            self.server.stream(&stream_of(place), &[place]).await;
        }
    }

    async fn publish(&self, to: &str, messages: &[Outgoing]) {
        let client = self.client();
        if !STREAMS {
            for message in messages {
                let (to, payload) = (to.to_owned(), message.payload.clone());
                let sent = client.publish_with_headers(to, headers(message), payload);
                sent.await.expect("published");
            }
            return client.flush().await.expect("flushed");
        }
        let context = async_nats::jetstream::new(client);
        for piece in messages.chunks(500) {
            let mut sent = Vec::new();
            for message in piece {
                let (to, payload) = (to.to_owned(), message.payload.clone());
                let confirm = context.publish_with_headers(to, headers(message), payload);
                sent.push(confirm.await.expect("published"));
            }
            for confirm in sent {
                assert!(!confirm.await.expect("confirmed").duplicate);
            }
        }
    }

    async fn items(&self, place: &str) -> Vec<Item> {
        let Some(stream) = Self::kept(place) else {
            return self.heard.lock().get(place).cloned().unwrap_or_default();
        };
        let all = self.server.messages(&stream).await;
        let here = all
            .iter()
            .filter(|message| message.subject.as_str() == place);
        here.map(item).collect()
    }

    async fn count(&self, place: &str) -> u64 {
        let Some(stream) = Self::kept(place) else {
            return self.heard.lock().get(place).map_or(0, Vec::len) as u64;
        };
        // By a connection of its own: what a client asked when its server was killed is answered only by its patience, and
        // some scenarios measure how soon work goes on.
        let context = self.server.jetstream().await;
        let Ok(stream) = context.get_stream_no_info(&stream).await else {
            return 0;
        };
        let Ok(subjects) = stream.info_with_subjects(place).await else {
            return 0;
        };
        subjects
            .fold(0, |sum, found| async move {
                sum + found.expect("a count").1 as u64
            })
            .await
    }

    async fn left(&self, place: &str, group: &str) -> Left {
        let mut left = Left::NOTHING;
        if !STREAMS {
            // There is nobody to ask.
            return left;
        }
        let own = format!("retry~in~{group}");
        for (stream, consumer) in [(stream_of(place), group), (own, "wharf")] {
            match self.server.depth(&stream, consumer).await {
                Some(depth) => {
                    left.waiting += depth.waiting;
                    left.pending += depth.pending;
                }
                None => left.waiting += self.server.held(&stream).await.unwrap_or(0),
            }
        }
        left
    }

    async fn delete(&self, place: &str) {
        self.server.delete(&stream_of(place)).await;
    }

    async fn obstruct(&self, place: &str, on: bool) {
        // A stream that is missing.
        if on {
            self.delete(place).await;
        } else {
            self.create(place).await;
        }
    }

    fn unpublishable() -> serde_json::Value {
        json!({ "delay_ms": 1000 })
    }
}

/// `name=value`, all but letters and digits as `%` and two digits.
fn escaped(name: &[u8], value: &[u8]) -> String {
    let plain = |bytes: &[u8]| -> String {
        let each = bytes.iter().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        each.collect()
    };
    format!("{}={}", plain(name), plain(value))
}

fn unescaped(text: &str) -> (Vec<u8>, Vec<u8>) {
    let bytes = |text: &str| {
        let mut parts = text.split('%');
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    };
    let (name, value) = text.split_once('=').expect("name and value");
    (bytes(name), bytes(value))
}

fn plain(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    (text.trim() == text && !text.contains(char::is_control)).then_some(text)
}

/// The headers of a message, by `docs/wire/nats.md`.
fn headers(message: &Outgoing) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert("Nats-Msg-Id", message.id.as_deref().expect("an id"));
    if let Some(key) = &message.key {
        match plain(key) {
            Some(key) => map.insert("wharf-key", key),
            None => map.insert("wharf-field", escaped(b"wharf-key", key).as_str()),
        }
    }
    for header in &message.headers {
        let fits = |h: &&Header| h.name != header.name || plain(&h.value).is_some();
        let whole = message.headers.iter().all(|h| fits(&h));
        let ascii = !header.name.is_empty() && header.name.bytes().all(|b| b.is_ascii_graphic());
        match plain(&header.value).filter(|_| whole && ascii) {
            Some(value) => {
                let name: HeaderName = header.name.parse().expect("a name");
                let value: HeaderValue = value.parse().expect("a value");
                map.append(name, value);
            }
            None => {
                let pair = escaped(header.name.as_bytes(), &header.value);
                map.append("wharf-header", pair.as_str());
            }
        }
    }
    map
}

/// A message as any client sees it, by `docs/wire/nats.md`.
fn item(message: &async_nats::Message) -> Item {
    let mut item = Item {
        id: String::new(),
        key: None,
        headers: Vec::new(),
        payload: message.payload.clone(),
    };
    let map = message.headers.clone().unwrap_or_default();
    for (name, values) in map.iter() {
        for value in values {
            let text = value.as_str();
            let (name, value) = match name.as_ref() {
                "wharf-header" | "wharf-field" => unescaped(text),
                name => (name.as_bytes().to_vec(), text.as_bytes().to_vec()),
            };
            let name = String::from_utf8(name).expect("a name");
            match name.as_str() {
                "wharf-id" => item.id = text.to_owned(),
                "Nats-Msg-Id" if item.id.is_empty() && map.get("wharf-id").is_none() => {
                    item.id = text.to_owned();
                }
                "Nats-Msg-Id" => {}
                "wharf-key" => item.key = Some(Bytes::from(value)),
                _ => item.headers.push(Header {
                    name: name.into(),
                    value: value.into(),
                }),
            }
        }
    }
    item.headers.sort_by(|one, other| one.name.cmp(&other.name));
    item
}
