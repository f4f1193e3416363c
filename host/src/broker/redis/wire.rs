//! How a message lies in the fields of a stream entry, both ways. The table is in `docs/wire/redis.md`.
//!
//! Native form, no envelope: one field is the payload, the others are headers, a few well-known names are metadata.
//! What surprises: a *header* that bears one of those names is written with an escape before it ([`flat`]), and read back
//! without; an entry by any other client is read by the same rules.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use data_encoding::BASE64;
use serde_json::{Map, Value as Json};

use super::entry::{Fields, Raw};
use crate::message::flat::{self, Names, Pair, Seen};
use crate::message::{Header, Message, Origin, Outgoing};
use crate::ports::PayloadFrom;

/// The field that carries the payload where nothing else is configured.
pub(super) const PAYLOAD: &str = "payload";
/// An entry has fields and nothing else.
const METADATA: Names = Names(&[
    flat::ID,
    flat::KEY,
    flat::CONTENT_TYPE,
    flat::CORRELATION_ID,
    flat::REPLY_TO,
    flat::PRIORITY,
    flat::EXPIRES,
    flat::TOMBSTONE,
]);

const FIELD_NAMES: &str = "the entry's field names";

/// What is the same for every message of one stream.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) broker: Arc<str>,
    pub(super) subscription: Arc<str>,
    pub(super) stream: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    pub(super) payload: PayloadFrom,
}

/// What the server keeps beside the entry.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) attempts: u32,
    pub(super) first_failed_ms: Option<u64>,
    pub(super) deliveries: u32,
}

/// The message an entry stands for.
pub(super) fn read(raw: Raw, of: &Reading, kept: Kept) -> Message {
    let position = ByteString::from(raw.id.to_string());
    let mut message = Message {
        id: position.clone(),
        id_stable: true,
        subscription: Arc::clone(&of.subscription),
        topic: Arc::clone(&of.stream),
        origin: Origin {
            broker: Arc::clone(&of.broker),
            source: Arc::clone(&of.stream),
            partition: None,
            position,
            group: of.group.clone(),
        },
        key: None,
        headers: Vec::new(),
        payload: Bytes::new(),
        tombstone: false,
        timestamp_ms: raw.id.ms,
        content_type: None,
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: kept.attempts,
        first_failed_ms: kept.first_failed_ms,
        deliveries: kept.deliveries,
        unrepresentable: None,
        request: false,
    };
    let rest = metadata(raw.fields, &mut message);
    match &of.payload {
        PayloadFrom::Field(field) => native(rest, field, &mut message),
        PayloadFrom::Entry => whole(rest, &mut message),
    }
    message
}

/// Puts the metadata into the message and returns the other fields. The first of a name counts; one that cannot be
/// read as what it should be stays an ordinary field.
fn metadata(fields: Fields, message: &mut Message) -> Fields {
    let mut seen = Seen::default();
    let mut rest = fields;
    rest.retain(|(name, value)| !METADATA.take(name, value, &mut seen, message));
    rest
}

fn native(fields: Fields, payload: &str, message: &mut Message) {
    let mut found = message.tombstone;
    let mut strange = Vec::new();
    message.headers.reserve(fields.len());
    for (name, value) in fields {
        if !found && &name[..] == payload.as_bytes() {
            found = true;
            message.payload = value;
            continue;
        }
        match flat::bare(name) {
            Ok(name) => message.headers.push(Header { name, value }),
            Err(name) => strange.push((name, value)),
        }
    }
    message.unrepresentable = flat::strange(FIELD_NAMES, strange);
}

/// The whole entry as a JSON object: text as strings, other bytes as `{"$base64": "…"}`, a repeated field as an array
/// in order.
fn whole(fields: Fields, message: &mut Message) {
    let mut object: Map<String, Json> = Map::new();
    let mut repeated: Vec<String> = Vec::new();
    let mut strange = Vec::new();
    for (name, value) in fields {
        let Ok(key) = String::from_utf8(name.to_vec()) else {
            strange.push((name, value));
            continue;
        };
        let json = match String::from_utf8(value.to_vec()) {
            Ok(text) => Json::String(text),
            Err(bytes) => Json::Object(Map::from_iter([(
                "$base64".to_owned(),
                Json::String(BASE64.encode(bytes.as_bytes())),
            )])),
        };
        match object.get_mut(&key) {
            None => {
                object.insert(key, json);
            }
            Some(Json::Array(all)) if repeated.contains(&key) => all.push(json),
            Some(one) => {
                *one = Json::Array(vec![one.take(), json]);
                repeated.push(key);
            }
        }
    }
    message.payload = Bytes::from(Json::Object(object).to_string());
    if message.content_type.is_none() {
        message.content_type = Some(ByteString::from_static("application/json"));
    }
    message.unrepresentable = flat::strange(FIELD_NAMES, strange);
}

/// The fields an output is written as, in order: metadata, headers, headers that are not UTF-8, payload.
///
/// `now_ms` turns a time to live into the time it ends.
pub(super) fn write<'a>(out: &'a Outgoing, payload_field: &'a str, now_ms: u64) -> Vec<Pair<'a>> {
    let mut fields = Vec::with_capacity(out.headers.len() + out.raw_headers.len() + 4);
    fields.extend(METADATA.write(out, now_ms));
    for header in &out.headers {
        let taken = &*header.name == payload_field || METADATA.taken(&header.name);
        fields.push(Names::header(header, taken));
    }
    for (name, value) in &out.raw_headers {
        fields.push((Cow::Borrowed(&name[..]), Cow::Borrowed(&value[..])));
    }
    if !out.tombstone {
        fields.push((
            Cow::Borrowed(payload_field.as_bytes()),
            Cow::Borrowed(&out.payload[..]),
        ));
    }
    fields
}

#[cfg(test)]
mod tests;
