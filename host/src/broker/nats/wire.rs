//! How a message lies in a NATS message, both ways. The table is in `docs/wire/nats.md`.
//!
//! Native form, no envelope: subject and payload are the message's own, headers are headers, and a few well-known names
//! among them are metadata. [`escape`] is what becomes of what a header cannot hold, [`parked`] what stands beside a
//! message while it waits for a retry.
//!
//! What surprises:
//! - The client reads headers into a map: those of one name keep their order, names do not. They come sorted by name.
//! - Headers that begin with `Nats-` are orders to the server. A header that bears such a name, or one that would be read as
//!   metadata, is written escaped.
//! - A stream takes an id (`Nats-Msg-Id`) once within its window, whatever the subject and the content. So the id of a dead
//!   letter says of which failure it is, and that of a redriven one which letter it was: one that is redriven, fails again and
//!   is redriven again must not be taken for a repeat.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::message::flat::{self, Names, Seen};
use crate::message::{ERROR, ERROR_CODE, Header, Message, Origin, Outgoing};
use crate::ports::PublishError;

mod escape;
pub(super) mod parked;

use parked::Parked;

/// A text of which some bytes are written as `%` and two digits, as in URLs.
pub(super) fn decode(text: &str) -> Option<String> {
    String::from_utf8(escape::take(text)?).ok()
}

/// Holds a header that cannot stand by itself, as `name=value`.
const HEADER: &str = "wharf-header";
/// Holds metadata whose value cannot stand by itself, the same way.
const FIELD: &str = "wharf-field";

/// Metadata, of which nothing has a place of its own.
const ALL: Names = Names(&[
    flat::ID,
    flat::KEY,
    flat::TOMBSTONE,
    flat::PRIORITY,
    flat::EXPIRES,
    flat::CONTENT_TYPE,
    flat::CORRELATION_ID,
    flat::REPLY_TO,
]);
/// The same where the reply is in its own place: outside of streams.
const REQUEST: Names = Names(&[
    flat::ID,
    flat::KEY,
    flat::TOMBSTONE,
    flat::PRIORITY,
    flat::EXPIRES,
    flat::CONTENT_TYPE,
    flat::CORRELATION_ID,
]);

/// By which a stream recognises a repeat.
pub(super) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Whether a header of that name tells the server what to do.
fn is_order(name: &str) -> bool {
    name.get(..5)
        .is_some_and(|n| n.eq_ignore_ascii_case("nats-"))
}

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Received {
    pub(super) subject: ByteString,
    /// Where an answer is wanted, outside of streams. In a stream it is where to acknowledge.
    pub(super) reply: Option<ByteString>,
    /// In the order of their names; those of one name in the order of the message.
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Bytes,
    /// Where it stands in a stream.
    pub(super) place: Option<Place>,
}

/// Where a message stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stream: ByteString,
    pub(super) sequence: u64,
    /// When the server took it, nanoseconds since 1970-01-01 UTC.
    pub(super) published_ns: i64,
    /// How often its consumer delivered it, this time included.
    pub(super) delivered: u32,
}

impl Received {
    pub(super) fn new(message: async_nats::Message) -> Self {
        let headers = message.headers.as_ref().map(sorted).unwrap_or_default();
        Self {
            subject: message.subject.as_str().to_owned().into(),
            reply: message.reply.map(|r| r.as_str().to_owned().into()),
            headers,
            payload: message.payload,
            place: None,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn from(&self) -> Option<parked::From> {
        self.place.as_ref().map(|place| parked::From {
            subject: self.subject.to_string(),
            stream: place.stream.to_string(),
            sequence: place.sequence,
            published_ns: place.published_ns,
        })
    }

    /// What it takes in memory, about as [`Message::size`] will say.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(n, v)| n.len() + v.len() + 64);
        512 + self.payload.len() + headers.sum::<usize>()
    }
}

/// Headers as the client has them, by name; those of one name in their order.
pub(super) fn sorted(map: &async_nats::HeaderMap) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, values) in map.iter() {
        let name: &str = name.as_ref();
        let of_name = values
            .iter()
            .map(|v| (name.to_owned(), v.as_str().to_owned()));
        headers.extend(of_name);
    }
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers
}

/// What is the same for every message of a subscription.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) broker: Arc<str>,
    pub(super) subscription: Arc<str>,
    /// The stream, or the subject where there is none.
    pub(super) source: Arc<str>,
    pub(super) group: Arc<str>,
    /// It is the subscription's own second source: what stands beside its messages is ours.
    pub(super) own: bool,
}

/// What is not in the message.
pub(super) struct Beside {
    /// Now, for what has no time of its own.
    pub(super) now_ms: u64,
    /// What [`Message::deliveries`] will be.
    pub(super) deliveries: u32,
}

/// The message that was delivered. `mint` makes an id where there is none.
pub(super) fn read(
    received: &Received,
    of: &Reading,
    beside: Beside,
    mint: impl FnOnce() -> ByteString,
) -> Message {
    let parked = Parked::of(received, of.own);
    let waited = parked.is_some();
    let parked = parked.unwrap_or_default();
    let from = parked.from.clone().or_else(|| received.from());
    let published = from.as_ref().map(|f| f.published_ns / 1_000_000);
    let mut message = Message {
        id: ByteString::new(),
        id_stable: true,
        subscription: Arc::clone(&of.subscription),
        topic: from
            .as_ref()
            .map_or(&*received.subject, |f| &f.subject)
            .into(),
        origin: Origin {
            broker: Arc::clone(&of.broker),
            source: match &from {
                Some(from) if *from.stream != *of.source => from.stream.as_str().into(),
                _ => Arc::clone(&of.source),
            },
            partition: None,
            position: from
                .as_ref()
                .map(|f| f.sequence.to_string().into())
                .unwrap_or_default(),
            group: Some(Arc::clone(&of.group)),
        },
        key: None,
        headers: Vec::with_capacity(received.headers.len()),
        payload: received.payload.clone(),
        tombstone: false,
        timestamp_ms: published
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or(beside.now_ms),
        content_type: None,
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: parked.attempts,
        first_failed_ms: parked.first_failed_ms,
        deliveries: beside.deliveries,
        unrepresentable: None,
        request: false,
    };
    if received.place.is_none() {
        // In a stream the reply is the server's own.
        message.reply_to = received.reply.clone();
        message.request = received.reply.is_some();
    }
    let own = |name: &str| waited && (name == parked::PARKED || is_order(name));
    let there = received.headers.iter().filter(|(name, _)| !own(name));
    headers(there.chain(&parked.headers), &mut message);
    if message.tombstone {
        message.payload = Bytes::new();
    }
    if message.id.is_empty() {
        message.id = match from {
            // The time as well: a stream that was deleted and made again counts from 1.
            Some(f) => format!("{}/{}/{}", f.stream, f.sequence, f.published_ns).into(),
            None => {
                message.id_stable = false;
                mint()
            }
        };
    }
    message
}

/// Metadata goes into its place, the first of a name; one that cannot be read as what it should be stays a header.
fn headers<'a>(all: impl Iterator<Item = &'a (String, String)>, message: &mut Message) {
    let names = if message.reply_to.is_some() {
        REQUEST
    } else {
        ALL
    };
    let mut seen = Seen::default();
    let mut server_id = None;
    let mut strange = Vec::new();
    for (name, text) in all {
        let value = Bytes::copy_from_slice(text.as_bytes());
        let taken = match name.as_str() {
            HEADER => match escape::unpair(text) {
                Some((name, value)) => {
                    let value = Bytes::from(value);
                    match ByteString::try_from(Bytes::from(name.clone())) {
                        Ok(name) => message.headers.push(Header { name, value }),
                        Err(_) => strange.push((Bytes::from(name), value)),
                    }
                    true
                }
                None => false,
            },
            FIELD => escape::unpair(text).is_some_and(|(name, value)| {
                names.take(&name, &Bytes::from(value), &mut seen, message)
            }),
            MESSAGE_ID if server_id.is_none() && !text.is_empty() => {
                server_id = Some(text);
                true
            }
            name => names.take(name.as_bytes(), &value, &mut seen, message),
        };
        if !taken {
            let name = name.clone().into();
            message.headers.push(Header { name, value });
        }
    }
    message
        .headers
        .sort_by(|one, other| one.name.cmp(&other.name));
    if let (true, Some(id)) = (message.id.is_empty(), server_id) {
        message.id = id.clone().into();
    }
    message.unrepresentable = flat::strange("the message's header names", strange);
}

/// How a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the stream that holds its subject.
    Stream,
    /// To whoever listens.
    Core,
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) subject: String,
    /// Where an answer is wanted, outside of streams.
    pub(super) reply: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Bytes,
}

/// The message of an output to `subject`; `now_ms` turns a time to live into the time it ends. What NATS cannot hold is
/// the message's fault.
pub(super) fn write(
    out: &Outgoing,
    subject: &str,
    way: Way,
    now_ms: u64,
) -> Result<Written, PublishError> {
    let fault = |problem: &str| Err(PublishError::Message(format!("nats: {problem}")));
    if !is_subject(subject) {
        return fault("it is no subject to publish to: words separated by dots, without * and >");
    }
    if out.delay_ms.is_some_and(|d| d > 0) {
        return fault(
            "a subject cannot hold a message back: publish it without a delay, or to a broker that can",
        );
    }
    let mut headers = Vec::with_capacity(out.headers.len() + out.raw_headers.len() + 6);
    let reply = match &out.reply_to {
        Some(to) if way == Way::Core && is_subject(to) => Some(to.to_string()),
        _ => None,
    };
    let names = if reply.is_some() { REQUEST } else { ALL };
    for (name, value) in names.write(out, now_ms) {
        let name = String::from_utf8_lossy(&name).into_owned();
        headers.push(match escape::value_fits(&value) {
            Some(text) => (name, text.to_owned()),
            None => (FIELD.to_owned(), escape::pair(name.as_bytes(), &value)),
        });
    }
    if let Some(id) = repeat_id(out)
        && escape::value_fits(id.as_bytes()).is_some()
    {
        headers.push((MESSAGE_ID.to_owned(), id));
    }
    let answer = way == Way::Core && &*out.destination == "reply";
    for header in &out.headers {
        if let Some(name) = service_name(&header.name).filter(|_| answer) {
            headers.push((name.to_owned(), one_line(&header.value)));
            continue;
        }
        // All of a name one way, or their order would be lost.
        let plain = name_is_free(&header.name)
            && out
                .headers
                .iter()
                .filter(|h| h.name == header.name)
                .all(|h| escape::value_fits(&h.value).is_some());
        headers.push(match escape::value_fits(&header.value) {
            Some(value) if plain => (header.name.to_string(), value.to_owned()),
            _ => (
                HEADER.to_owned(),
                escape::pair(header.name.as_bytes(), &header.value),
            ),
        });
    }
    for (name, value) in &out.raw_headers {
        headers.push((HEADER.to_owned(), escape::pair(name, value)));
    }
    Ok(Written {
        subject: subject.to_owned(),
        reply,
        headers,
        payload: if out.tombstone {
            Bytes::new()
        } else {
            out.payload.clone()
        },
    })
}

/// What NATS calls a header of an answer that says what went wrong, as its micro services have it.
fn service_name(name: &str) -> Option<&'static str> {
    match name {
        ERROR => Some("Nats-Service-Error"),
        ERROR_CODE => Some("Nats-Service-Error-Code"),
        _ => None,
    }
}

/// Text that a header can hold: a reason may have several lines.
fn one_line(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let words: Vec<&str> = text
        .split(|c: char| c.is_control())
        .map(str::trim)
        .collect();
    words.join(" ").trim().to_owned()
}

/// By what the stream is to recognise a repeat of it. See the module for dead letters.
fn repeat_id(out: &Outgoing) -> Option<String> {
    let id = out.id.as_ref()?;
    let said = |name: &str| {
        let header = out.headers.iter().find(|h| &*h.name == name)?;
        std::str::from_utf8(&header.value).ok()
    };
    match said("wharf-cause") {
        None => Some(match said("wharf-redrive-id") {
            // Sent back once more, it is another one.
            Some(redrive) => format!("{id}/{redrive}"),
            None => id.to_string(),
        }),
        Some(_) => {
            let part = |name| said(name).unwrap_or_default();
            Some(format!(
                "{id}/{}/{}/{}/{}",
                part("wharf-plugin"),
                part("wharf-subscription"),
                part("__dlq.errors.topic"),
                part("__dlq.errors.offset"),
            ))
        }
    }
}

/// Whether a header of that name can be written under it: neither the server nor a reader takes it for something else.
fn name_is_free(name: &str) -> bool {
    let ours = [HEADER, FIELD, parked::PARKED];
    escape::name_fits(name) && !is_order(name) && !ALL.0.contains(&name) && !ours.contains(&name)
}

/// Whether something can be published to a subject of that name.
pub(super) fn is_subject(subject: &str) -> bool {
    subject.split('.').all(|word| {
        !word.is_empty()
            && word != "*"
            && word != ">"
            && !word.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

/// Headers as the client wants them.
pub(super) fn map(headers: Vec<(String, String)>) -> async_nats::HeaderMap {
    let mut map = async_nats::HeaderMap::new();
    for (name, value) in headers {
        // What does not fit was escaped; the client panics where text is given to it that it does not take.
        if let (Ok(name), Ok(value)) = (
            name.parse::<async_nats::HeaderName>(),
            value.parse::<async_nats::HeaderValue>(),
        ) {
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests;
