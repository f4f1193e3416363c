//! A message between the vocabulary and the table: [`Row`] on its way in, [`StoredMessage`] on its way out.
//!
//! Both are made outside the writer thread as far as possible, which is the one thing all work queues for.

use bytes::Bytes;
use bytestring::ByteString;
use rusqlite::types::ValueRef;

use super::codec;
use super::id;
use crate::message::{Header, Message, Origin, Outgoing, Unrepresentable, accounted};
use crate::ports::{PublishError, SubscriptionSpec};

/// Longest topic name, bytes.
pub(super) const MAX_TOPIC: usize = 512;

/// A message ready to be inserted.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) topic: ByteString,
    pub(super) message_id: ByteString,
    pub(super) key: Option<Bytes>,
    pub(super) headers: Option<Vec<u8>>,
    pub(super) raw_headers: Option<Vec<u8>>,
    pub(super) payload: Bytes,
    pub(super) tombstone: bool,
    pub(super) content_type: Option<ByteString>,
    pub(super) correlation_id: Option<ByteString>,
    pub(super) reply_to: Option<ByteString>,
    pub(super) priority: Option<u8>,
    pub(super) delay_ms: Option<u32>,
    pub(super) ttl_ms: Option<u32>,
}

impl Row {
    /// Checks and encodes. Fails only for what no later attempt can change.
    pub(super) fn new(
        topic: &str,
        message: &Outgoing,
        max_message: usize,
    ) -> Result<Self, PublishError> {
        if topic.is_empty() || topic.len() > MAX_TOPIC {
            return Err(PublishError::Message(format!(
                "a topic's name has 1 to {MAX_TOPIC} bytes, this one {}",
                topic.len()
            )));
        }
        let size = message.size()
            + message
                .raw_headers
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        if size > max_message {
            return Err(PublishError::Message(format!(
                "the message has {size} bytes, the embedded broker takes at most {max_message}"
            )));
        }
        Ok(Self {
            topic: topic.into(),
            message_id: match &message.id {
                Some(id) => id.clone(),
                None => uuid::Uuid::now_v7().to_string().into(),
            },
            key: message.key.clone(),
            headers: codec::encode(
                message
                    .headers
                    .iter()
                    .map(|h| (h.name.as_bytes().as_ref(), h.value.as_ref())),
            ),
            raw_headers: codec::encode(
                message
                    .raw_headers
                    .iter()
                    .map(|(name, value)| (name.as_ref(), value.as_ref())),
            ),
            payload: message.payload.clone(),
            tombstone: message.tombstone,
            content_type: message.content_type.clone(),
            correlation_id: message.correlation_id.clone(),
            reply_to: message.reply_to.clone(),
            priority: message.priority,
            delay_ms: message.delay_ms,
            ttl_ms: message.ttl_ms,
        })
    }

    /// Bytes it weighs in a transaction.
    pub(super) fn weight(&self) -> usize {
        128 + self.payload.len()
            + self.headers.as_ref().map_or(0, Vec::len)
            + self.raw_headers.as_ref().map_or(0, Vec::len)
            + self.key.as_ref().map_or(0, Bytes::len)
    }
}

/// A message as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the topic, from 1.
    pub seq: u64,
    /// The stable id.
    pub id: ByteString,
    /// When it was published, milliseconds since 1970-01-01 UTC.
    pub published_ms: u64,
    /// Key for ordering and partitioning.
    pub key: Option<Bytes>,
    /// Headers whose names are text, in order.
    pub headers: Vec<Header>,
    /// Headers whose names are not UTF-8, in order.
    pub raw_headers: Vec<(Bytes, Bytes)>,
    /// The body.
    pub payload: Bytes,
    /// A deletion marker.
    pub tombstone: bool,
    /// Media type of the payload.
    pub content_type: Option<ByteString>,
    /// Ties a reply to its request.
    pub correlation_id: Option<ByteString>,
    /// Where an answer is wanted.
    pub reply_to: Option<ByteString>,
    /// Higher first.
    pub priority: Option<u8>,
    /// Not to be delivered before this, milliseconds since 1970-01-01 UTC.
    pub due_ms: Option<u64>,
    /// Not to be handled after this, milliseconds since 1970-01-01 UTC.
    pub expires_at_ms: Option<u64>,
}

/// Selects, in its order, the columns that [`StoredMessage::read`] expects.
macro_rules! select_messages {
    ($rest:literal) => {
        concat!(
            "SELECT id, published_ms, message_id, payload, tombstone, key, headers, raw_headers, content_type, \
             correlation_id, reply_to, priority, due_ms, expires_ms FROM messages ",
            $rest
        )
    };
}

/// One message by its row id.
pub(super) const SELECT_ONE: &str = select_messages!("WHERE id = ?1");
/// What a cursor has not passed, up to a row id.
pub(super) const SELECT_NEW: &str =
    select_messages!("WHERE id > ?1 AND id <= ?2 AND apart = 0 ORDER BY id");
/// All between two row ids, at most so many.
pub(super) const SELECT_RANGE: &str =
    select_messages!("WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3");

impl StoredMessage {
    /// Reads a row selected by one of the statements above.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        // One column holds both kinds when another program wrote it, so both are sorted by what they are.
        let (headers, mut raw_headers) = pairs(row, 6)?;
        raw_headers.extend(pairs(row, 7)?.1);
        Ok(Self {
            seq: id::seq(row.get(0)?).unsigned_abs(),
            published_ms: row.get::<_, i64>(1)?.unsigned_abs(),
            id: text(row, 2)?.unwrap_or_default(),
            payload: blob(row, 3)?.unwrap_or_default(),
            tombstone: row.get::<_, i64>(4)? != 0,
            key: blob(row, 5)?,
            headers,
            raw_headers,
            content_type: text(row, 8)?,
            correlation_id: text(row, 9)?,
            reply_to: text(row, 10)?,
            priority: row
                .get::<_, Option<i64>>(11)?
                .map(|priority| u8::try_from(priority.clamp(0, 255)).unwrap_or(u8::MAX)),
            due_ms: row.get::<_, Option<i64>>(12)?.map(i64::unsigned_abs),
            expires_at_ms: row.get::<_, Option<i64>>(13)?.map(i64::unsigned_abs),
        })
    }

    /// Bytes it is accounted with, as `Message::size`.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter().map(|h| h.name.len() + h.value.len());
        let key = self.key.as_ref().map_or(0, Bytes::len);
        accounted(self.payload.len() + key, headers)
    }

    /// The same message on its way out again, as a redrive sends it. A time limit and a delay start anew only if the
    /// caller sets them; `destination` is empty.
    pub fn to_outgoing(&self) -> Outgoing {
        Outgoing {
            id: Some(self.id.clone()),
            key: self.key.clone(),
            headers: self.headers.clone(),
            payload: self.payload.clone(),
            tombstone: self.tombstone,
            content_type: self.content_type.clone(),
            correlation_id: self.correlation_id.clone(),
            reply_to: self.reply_to.clone(),
            priority: self.priority,
            raw_headers: self.raw_headers.clone(),
            ..Outgoing::default()
        }
    }

    /// As a subscription sees it that has not counted anything yet.
    pub(super) fn into_message(self, spec: &SubscriptionSpec, origin: Origin) -> Message {
        let unrepresentable = (!self.raw_headers.is_empty()).then(|| {
            Box::new(Unrepresentable {
                reason: format!(
                    "{} header name(s) are not UTF-8 text",
                    self.raw_headers.len()
                ),
                headers: self.raw_headers,
            })
        });
        Message {
            id: self.id,
            id_stable: true,
            subscription: spec.name.clone(),
            topic: spec.address.clone(),
            origin,
            key: self.key,
            headers: self.headers,
            payload: self.payload,
            tombstone: self.tombstone,
            timestamp_ms: self.published_ms,
            content_type: self.content_type,
            correlation_id: self.correlation_id,
            reply_to: self.reply_to,
            priority: self.priority,
            expires_at_ms: self.expires_at_ms,
            attempts: 0,
            first_failed_ms: None,
            deliveries: 0,
            unrepresentable,
            request: false,
        }
    }
}

type Pairs = (Vec<Header>, Vec<(Bytes, Bytes)>);

fn pairs(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Pairs> {
    let Some(buffer) = blob(row, column)? else {
        return Ok(Pairs::default());
    };
    match codec::decode(&buffer) {
        Some(pairs) => Ok(codec::split(pairs)),
        // Somebody else wrote this column. It is kept for the dead letter instead of stopping the topic.
        None => Ok((Vec::new(), vec![(Bytes::from_static(b"\xff"), buffer)])),
    }
}

fn blob(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Bytes>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Ok(Some(Bytes::copy_from_slice(bytes))),
        other => Err(rusqlite::Error::InvalidColumnType(
            column,
            String::new(),
            other.data_type(),
        )),
    }
}

fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<ByteString>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(ByteString::from))
}
