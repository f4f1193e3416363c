//! A message as the host holds it: immutable bytes, and where they came from.
//!
//! Everything variable is reference-counted ([`Bytes`], [`ByteString`], `Arc<str>`), so a message can be
//! cloned into a dead letter without copying its payload.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

#[cfg(any(
    feature = "kafka",
    feature = "nats",
    feature = "rabbitmq",
    feature = "redis"
))]
#[cfg_attr(
    not(all(
        feature = "kafka",
        feature = "nats",
        feature = "rabbitmq",
        feature = "redis"
    )),
    allow(dead_code, reason = "each broker needs some of it")
)]
pub(crate) mod flat;

/// The header of an answer that says why there is none: adapters give it the name that their clients know.
pub const ERROR: &str = "wharf-error";
/// The header of an answer that says what kind of failure it is.
pub const ERROR_CODE: &str = "wharf-error-code";

/// One header. Order is kept and names may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Header {
    /// UTF-8, may be empty.
    pub name: ByteString,
    /// Any bytes.
    pub value: Bytes,
}

impl Header {
    /// A header from text.
    pub fn text(name: impl Into<ByteString>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: Bytes::from(value.into()),
        }
    }
}

/// Where a message was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The broker's name in the configuration.
    pub broker: Arc<str>,
    /// Topic, queue, stream or subject.
    pub source: Arc<str>,
    /// Partition, where the broker has them.
    pub partition: Option<u32>,
    /// Offset, sequence or entry id, as text.
    pub position: ByteString,
    /// Consumer group, where the broker has them.
    pub group: Option<Arc<str>>,
}

/// What the contract cannot hold (a header name that is not UTF-8, say), kept byte for byte for the dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrepresentable {
    /// For people: what is wrong.
    pub reason: String,
    /// The headers that do not fit, in order.
    pub headers: Vec<(Bytes, Bytes)>,
}

/// One message as read from a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Identifies the message for deduplication.
    pub id: ByteString,
    /// Whether `id` is the same at every redelivery. False where the host had to mint one.
    pub id_stable: bool,
    /// The configured name of the subscription it arrived by.
    pub subscription: Arc<str>,
    /// Topic, stream, routing key or subject.
    pub topic: Arc<str>,
    /// Where it was read.
    pub origin: Origin,
    /// Key for ordering and partitioning.
    pub key: Option<Bytes>,
    /// Headers in the order of the broker.
    pub headers: Vec<Header>,
    /// The body, any bytes, may be empty.
    pub payload: Bytes,
    /// A deletion marker. `payload` is then empty.
    pub tombstone: bool,
    /// When it was published, milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Media type of the payload.
    pub content_type: Option<ByteString>,
    /// Ties a reply to its request.
    pub correlation_id: Option<ByteString>,
    /// Where an answer is wanted.
    pub reply_to: Option<ByteString>,
    /// Higher first.
    pub priority: Option<u8>,
    /// Not to be handled after this, milliseconds since 1970-01-01 UTC.
    pub expires_at_ms: Option<u64>,
    /// Charged handler runs so far, as kept at the broker. After an unclean crash it may be short, never long.
    pub attempts: u32,
    /// When the first of them failed, milliseconds since 1970-01-01 UTC; kept where the attempts are.
    pub first_failed_ms: Option<u64>,
    /// Deliveries, this one included, that ended without a settlement, as far as the broker tells them apart: a message
    /// released for a retry or by a drain does not count, one whose host died does. 0 where the broker keeps no count.
    pub deliveries: u32,
    /// Set where the contract cannot hold the message; it is then dead-lettered without being run.
    pub unrepresentable: Option<Box<Unrepresentable>>,
    /// Whoever published it waits at `reply_to` for an answer, and is told of a failure as well.
    pub request: bool,
}

impl Message {
    /// Bytes this message is accounted with: payload, key, headers and a fixed overhead for the record itself.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|h| h.name.len() + h.value.len());
        let key = self.key.as_ref().map_or(0, Bytes::len);
        accounted(self.payload.len() + key, headers)
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers
            .iter()
            .find(|h| &*h.name == name)
            .map(|h| &h.value)
    }
}

/// Bytes a message is accounted with whose payload and key have `content` bytes together, and whose headers so many each.
pub fn accounted(content: usize, headers: impl Iterator<Item = usize>) -> usize {
    /// The record itself.
    const RECORD: usize = 512;
    /// The two parts of a header, without what is in them.
    const HEADER: usize = 64;
    RECORD + content + headers.map(|bytes| bytes + HEADER).sum::<usize>()
}

/// A message a handler asks the host to publish, or a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// The configured name of the destination, or `reply`.
    pub destination: ByteString,
    /// Overrides the destination's topic where the grant allows it.
    pub topic: Option<ByteString>,
    /// A stable id to deduplicate by. Filled in by the host where the handler gave none.
    pub id: Option<ByteString>,
    /// Key for ordering and partitioning.
    pub key: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<Header>,
    /// The body.
    pub payload: Bytes,
    /// A deletion marker.
    pub tombstone: bool,
    /// Partition, where the broker lets the publisher choose.
    pub partition: Option<u32>,
    /// Media type of the payload.
    pub content_type: Option<ByteString>,
    /// Ties a reply to its request.
    pub correlation_id: Option<ByteString>,
    /// Where an answer is wanted.
    pub reply_to: Option<ByteString>,
    /// Not to be delivered before this many milliseconds.
    pub delay_ms: Option<u32>,
    /// Not to be handled after this many milliseconds.
    pub ttl_ms: Option<u32>,
    /// Higher first.
    pub priority: Option<u8>,
    /// Headers whose names are not UTF-8, carried through to a dead letter byte for byte.
    pub raw_headers: Vec<(Bytes, Bytes)>,
}

impl Outgoing {
    /// Bytes this output is accounted with, as [`Message::size`].
    pub fn size(&self) -> usize {
        self.payload.len()
            + self.key.as_ref().map_or(0, Bytes::len)
            + self
                .headers
                .iter()
                .map(|h| h.name.len() + h.value.len())
                .sum::<usize>()
    }
}

#[cfg(test)]
impl Message {
    /// A small message with this id, for unit tests.
    pub(crate) fn for_test(id: &str) -> Self {
        Self {
            id: id.to_owned().into(),
            id_stable: true,
            subscription: "s".into(),
            topic: "t".into(),
            origin: Origin {
                broker: "b".into(),
                source: "t".into(),
                partition: None,
                position: id.to_owned().into(),
                group: None,
            },
            key: None,
            headers: vec![],
            payload: Bytes::new(),
            tombstone: false,
            timestamp_ms: 0,
            content_type: None,
            correlation_id: None,
            reply_to: None,
            priority: None,
            expires_at_ms: None,
            attempts: 0,
            first_failed_ms: None,
            deliveries: 1,
            unrepresentable: None,
            request: false,
        }
    }
}
