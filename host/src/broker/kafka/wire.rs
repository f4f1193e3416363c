//! How a message lies in a Kafka record, both ways. The table is in `docs/wire/kafka.md`.
//!
//! Native form, no envelope: key and value are the record's own, a null value is a tombstone, headers are headers, and
//! a few well-known names among them are metadata. What surprises: a *header* that bears one of those names is written
//! with an escape before it ([`flat`]), and read back without; a record by any other client is read by the same rules.
//!
//! Nothing of the client is here. Its own way of reading headers panics where a name is not UTF-8, which is a choice of
//! whoever produces; so names are bytes here, both ways.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::metadata::Kept;
use crate::config::kafka::topic_problem;
use crate::message::flat::{self, Names, Pair, Seen};
use crate::message::{Header, Message, Origin, Outgoing, accounted};
use crate::ports::PublishError;

/// What a record has no place for. Keys and null values it has.
const METADATA: Names = Names(&[
    flat::ID,
    flat::PRIORITY,
    flat::EXPIRES,
    flat::CONTENT_TYPE,
    flat::CORRELATION_ID,
    flat::REPLY_TO,
]);

/// A record as it was read. It is shared by whoever has it in hand and by the tracker, which may have to hand it out again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Set by its producer or by the broker, as the topic says; absent in the oldest format of records.
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Record {
    /// As `Message::size` will say.
    pub(super) fn size(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|(n, v)| n.len() + of(v));
        accounted(of(&self.key) + of(&self.value), headers)
    }
}

/// What is the same for every record of a subscription.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) broker: Arc<str>,
    pub(super) subscription: Arc<str>,
    pub(super) group: Arc<str>,
}

/// The message a record stands for.
pub(super) fn read(record: &Record, of: &Reading, kept: Kept, deliveries: u32) -> Message {
    let mut message = Message {
        id: ByteString::new(),
        id_stable: true,
        subscription: Arc::clone(&of.subscription),
        topic: Arc::clone(&record.topic),
        origin: Origin {
            broker: Arc::clone(&of.broker),
            source: Arc::clone(&record.topic),
            partition: u32::try_from(record.partition).ok(),
            position: record.offset.to_string().into(),
            group: Some(Arc::clone(&of.group)),
        },
        key: record.key.clone(),
        headers: Vec::new(),
        tombstone: record.value.is_none(),
        payload: record.value.clone().unwrap_or_default(),
        timestamp_ms: record
            .timestamp_ms
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or(0),
        content_type: None,
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: kept.attempts,
        first_failed_ms: kept.first_failed_ms,
        deliveries,
        unrepresentable: None,
        request: false,
    };
    headers(&record.headers, &mut message);
    if message.id.is_empty() {
        let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        message.id = place.into();
    }
    message
}

/// Metadata goes into its place, the first of a name; one that cannot be read as what it should be stays a header.
fn headers(headers: &[(Bytes, Option<Bytes>)], message: &mut Message) {
    let mut seen = Seen::default();
    let mut strange = Vec::new();
    message.headers.reserve(headers.len());
    for (name, value) in headers {
        // The contract has no header without a value.
        let value = value.clone().unwrap_or_default();
        if METADATA.take(name, &value, &mut seen, message) {
            continue;
        }
        match flat::bare(name.clone()) {
            Ok(name) => message.headers.push(Header { name, value }),
            Err(name) => strange.push((name, value)),
        }
    }
    message.unrepresentable = flat::strange("the record's header names", strange);
}

/// A record to be produced. The time is the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written<'a> {
    pub(super) partition: Option<i32>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Metadata, headers, headers whose names are not UTF-8.
    pub(super) headers: Vec<Pair<'a>>,
}

/// The record of an output to `topic`; `now_ms` turns a time to live into the time it ends. What Kafka cannot hold is
/// the message's fault.
pub(super) fn write<'a>(
    out: &'a Outgoing,
    topic: &str,
    now_ms: u64,
) -> Result<Written<'a>, PublishError> {
    if let Some(problem) = topic_problem(topic) {
        return Err(fault(problem));
    }
    if out.delay_ms.is_some_and(|d| d > 0) {
        return Err(fault(
            "a Kafka topic cannot hold a message back: publish it without a delay, or to a broker that can",
        ));
    }
    let partition = match out.partition.map(i32::try_from) {
        None => None,
        Some(Ok(partition)) => Some(partition),
        Some(Err(_)) => return Err(fault("there is no partition of that number")),
    };
    let mut headers = Vec::with_capacity(out.headers.len() + out.raw_headers.len() + 4);
    headers.extend(METADATA.write(out, now_ms));
    for header in &out.headers {
        headers.push(Names::header(header, METADATA.taken(&header.name)));
    }
    for (name, value) in &out.raw_headers {
        headers.push((Cow::Borrowed(&name[..]), Cow::Borrowed(&value[..])));
    }
    if headers.iter().any(|(name, _)| name.contains(&0)) {
        // Many clients, ours among them, would read it as a shorter one.
        return Err(fault("the name of a header contains a zero byte"));
    }
    Ok(Written {
        partition,
        key: out.key.as_deref(),
        value: (!out.tombstone).then_some(&out.payload[..]),
        headers,
    })
}

fn fault(problem: &str) -> PublishError {
    PublishError::Message(format!("kafka: {problem}"))
}

#[cfg(test)]
mod tests;
