//! How a message lies in the fields of a stream entry, both ways. The table is in `docs/wire/redis.md`.
//!
//! Native form, no envelope: one field is the payload, the others are headers, a few well-known names are metadata.
//! What surprises: a *header* that bears one of those names is written with [`ESCAPE`] before it, and read back
//! without; an entry by any other client is read by the same rules.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Map, Value as Json};

use super::entry::{Fields, Raw};
use crate::message::{Header, Message, Origin, Outgoing, Unrepresentable};
use crate::ports::PayloadFrom;

/// The field that carries the payload where nothing else is configured.
pub(super) const PAYLOAD: &str = "payload";
/// Stands before the name of a header that would be taken for something else.
pub(super) const ESCAPE: &str = "wharf-header:";

const ID: &str = "wharf-id";
const KEY: &str = "wharf-key";
const TOMBSTONE: &str = "wharf-tombstone";
const PRIORITY: &str = "wharf-priority";
const EXPIRES: &str = "wharf-expires";
const CONTENT_TYPE: &str = "content-type";
const CORRELATION_ID: &str = "correlation-id";
const REPLY_TO: &str = "reply-to";

const METADATA: [&str; 8] = [
    ID,
    KEY,
    TOMBSTONE,
    PRIORITY,
    EXPIRES,
    CONTENT_TYPE,
    CORRELATION_ID,
    REPLY_TO,
];

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
    let mut seen = [false; METADATA.len()];
    let mut rest = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        match METADATA.iter().position(|m| m.as_bytes() == &name[..]) {
            Some(i) if !seen[i] && set(METADATA[i], &value, message) => seen[i] = true,
            _ => rest.push((name, value)),
        }
    }
    rest
}

fn set(name: &str, value: &Bytes, message: &mut Message) -> bool {
    fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
        let good = value.is_some();
        if good {
            *place = value;
        }
        good
    }
    let text = || ByteString::try_from(value.clone()).ok();
    let number = || std::str::from_utf8(value).ok();
    match name {
        KEY => put(&mut message.key, Some(value.clone())),
        CONTENT_TYPE => put(&mut message.content_type, text()),
        CORRELATION_ID => put(&mut message.correlation_id, text()),
        REPLY_TO => put(&mut message.reply_to, text()),
        PRIORITY => put(&mut message.priority, number().and_then(|n| n.parse().ok())),
        EXPIRES => put(
            &mut message.expires_at_ms,
            number().and_then(|n| n.parse().ok()),
        ),
        TOMBSTONE => {
            message.tombstone |= &value[..] == b"1";
            &value[..] == b"1"
        }
        ID => match text() {
            Some(id) if !id.is_empty() => {
                message.id = id;
                true
            }
            _ => false,
        },
        _ => false,
    }
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
        let bare = match name.strip_prefix(ESCAPE.as_bytes()) {
            Some(_) => name.slice(ESCAPE.len()..),
            None => name.clone(),
        };
        match ByteString::try_from(bare) {
            Ok(bare) => message.headers.push(Header { name: bare, value }),
            Err(_) => strange.push((name, value)),
        }
    }
    message.unrepresentable = unrepresentable(strange);
}

fn unrepresentable(strange: Vec<(Bytes, Bytes)>) -> Option<Box<Unrepresentable>> {
    let (name, _) = strange.first()?;
    Some(Box::new(Unrepresentable {
        reason: format!(
            "{} of the entry's field names are not UTF-8, the first is {:?}",
            strange.len(),
            String::from_utf8_lossy(name)
        ),
        headers: strange,
    }))
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
                Json::String(base64(bytes.as_bytes())),
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
    message.unrepresentable = unrepresentable(strange);
}

/// RFC 4648 §4, padded.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u32, |w, (i, b)| w | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            let at = (word >> (18 - 6 * i)) as usize & 63;
            out.push(if i <= chunk.len() {
                char::from(ALPHABET[at])
            } else {
                '='
            });
        }
    }
    out
}

/// A field on its way out: name and value.
pub(super) type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The fields an output is written as, in order: metadata, headers, headers that are not UTF-8, payload.
///
/// `now_ms` turns a time to live into the time it ends.
pub(super) fn write<'a>(out: &'a Outgoing, payload_field: &'a str, now_ms: u64) -> Vec<Field<'a>> {
    let mut fields: Vec<Field<'a>> =
        Vec::with_capacity(out.headers.len() + out.raw_headers.len() + 4);
    let mut meta = |name: &'static str, value: Option<Cow<'a, [u8]>>| {
        if let Some(value) = value {
            fields.push((Cow::Borrowed(name.as_bytes()), value));
        }
    };
    let text = |t: &'a Option<ByteString>| t.as_ref().map(|t| Cow::Borrowed(&t.as_bytes()[..]));
    let number = |n: u64| Cow::Owned(n.to_string().into_bytes());
    meta(ID, text(&out.id));
    meta(KEY, out.key.as_ref().map(|k| Cow::Borrowed(&k[..])));
    meta(CONTENT_TYPE, text(&out.content_type));
    meta(CORRELATION_ID, text(&out.correlation_id));
    meta(REPLY_TO, text(&out.reply_to));
    meta(PRIORITY, out.priority.map(|p| number(p.into())));
    meta(
        EXPIRES,
        out.ttl_ms
            .map(|ttl| number(now_ms.saturating_add(ttl.into()))),
    );
    meta(TOMBSTONE, out.tombstone.then_some(Cow::Borrowed(b"1")));
    for header in &out.headers {
        let name = if taken(&header.name, payload_field) {
            Cow::Owned(format!("{ESCAPE}{}", header.name).into_bytes())
        } else {
            Cow::Borrowed(&header.name.as_bytes()[..])
        };
        fields.push((name, Cow::Borrowed(&header.value[..])));
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

/// Whether a header of that name would be read as something else.
fn taken(name: &str, payload_field: &str) -> bool {
    name == payload_field || METADATA.contains(&name) || name.starts_with(ESCAPE)
}

#[cfg(test)]
mod tests;
