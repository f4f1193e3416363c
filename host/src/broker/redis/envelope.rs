//! How a message lies in one value: in a list, as a member of a sorted set, in what a channel carries.
//!
//! These have no place for headers, so a message of ours is an envelope: `wharf/1`, a blank, the length of the fields, a
//! line feed, the fields, and the payload as it is to the end. Fields are netstrings, name and value in turn, under the
//! names that streams use. **A value that is not an envelope, down to the last comma, is a payload**, byte for byte: what
//! any client pushes is read as it is. A payload that looks like an envelope comes in one of ours and so is told apart.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::wire::Kept;
use crate::message::flat::{self, Names, Seen};
use crate::message::{Header, Message, Origin, Outgoing};
use crate::ports::PublishError;

/// What an envelope of the first version begins with.
const MAGIC: &[u8] = b"wharf/1 ";
/// When it was published, milliseconds since 1970-01-01 UTC.
const PUBLISHED: &str = "wharf-published";
/// Digits of the length of anything that fits into a value.
const DIGITS: usize = 10;
/// What a server takes as one value unless told otherwise (`proto-max-bulk-len`).
const VALUE: usize = 512 << 20;

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

/// What is the same for every message of one place.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) broker: Arc<str>,
    pub(super) subscription: Arc<str>,
    pub(super) place: Arc<str>,
    /// For the record: these places have no groups.
    pub(super) group: Arc<str>,
}

/// How the message is known where its value does not say.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Its place, and its id where the value has none.
    pub(super) position: ByteString,
    /// Whether that id is the same at every delivery.
    pub(super) stable: bool,
    /// When it was published, as far as can be told.
    pub(super) at_ms: u64,
    /// What is kept beside it.
    pub(super) kept: Kept,
}

/// The message a value stands for.
pub(super) fn read(value: Bytes, of: &Reading, known: Known) -> Message {
    let mut message = Message {
        id: known.position.clone(),
        id_stable: known.stable,
        subscription: Arc::clone(&of.subscription),
        topic: Arc::clone(&of.place),
        origin: Origin {
            broker: Arc::clone(&of.broker),
            source: Arc::clone(&of.place),
            partition: None,
            position: known.position,
            group: Some(Arc::clone(&of.group)),
        },
        key: None,
        headers: Vec::new(),
        payload: Bytes::new(),
        tombstone: false,
        timestamp_ms: known.at_ms,
        content_type: None,
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: known.kept.attempts,
        first_failed_ms: known.kept.first_failed_ms,
        deliveries: known.kept.deliveries,
        request: false,
        unrepresentable: None,
    };
    let Some((fields, payload)) = open(&value) else {
        message.payload = value;
        return message;
    };
    fill(fields, &mut message);
    if !message.tombstone {
        message.payload = payload;
    }
    message
}

/// Puts the fields of an envelope where they belong.
fn fill(fields: Vec<(Bytes, Bytes)>, message: &mut Message) {
    let mut seen = Seen::default();
    let mut dated = false;
    let mut strange = Vec::new();
    for (name, value) in fields {
        if !dated && &name[..] == PUBLISHED.as_bytes() {
            let text = std::str::from_utf8(&value).ok();
            if let Some(at) = text.and_then(|text| text.parse().ok()) {
                (message.timestamp_ms, dated) = (at, true);
                continue;
            }
        }
        if METADATA.take(&name, &value, &mut seen, message) {
            // An id of the publisher's own is the same at every delivery.
            message.id_stable |= &name[..] == flat::ID.as_bytes();
            continue;
        }
        match flat::bare(name) {
            Ok(name) => message.headers.push(Header { name, value }),
            Err(name) => strange.push((name, value)),
        }
    }
    message.unrepresentable = flat::strange("the envelope's field names", strange);
}

/// Fields and payload of a value that is an envelope.
fn open(value: &Bytes) -> Option<(Vec<(Bytes, Bytes)>, Bytes)> {
    let rest = value.strip_prefix(MAGIC)?;
    let (length, after) = number(rest, b'\n')?;
    let start = value.len() - rest.len() + after;
    let end = start.checked_add(length)?;
    if end > value.len() {
        return None;
    }
    let mut block = value.slice(start..end);
    let mut fields = Vec::new();
    while !block.is_empty() {
        fields.push((netstring(&mut block)?, netstring(&mut block)?));
    }
    Some((fields, value.slice(end..)))
}

/// Takes a netstring from the front.
fn netstring(block: &mut Bytes) -> Option<Bytes> {
    let (length, after) = number(block, b':')?;
    let end = after.checked_add(length)?;
    if block.get(end) != Some(&b',') {
        return None;
    }
    let content = block.slice(after..end);
    *block = block.slice(end + 1..);
    Some(content)
}

/// A number that ends with this byte, and how long both are.
fn number(text: &[u8], end: u8) -> Option<(usize, usize)> {
    let digits = text.iter().take(DIGITS + 1).position(|b| *b == end)?;
    let digits = &text[..digits];
    let canonical = digits == b"0" || !digits.starts_with(b"0");
    if digits.is_empty() || !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, digits.len() + 1))
}

/// The value an output is written as. `now_ms` is when it is published, and turns a time to live into the time it ends.
pub(super) fn write(out: &Outgoing, now_ms: u64) -> Result<Vec<u8>, PublishError> {
    let mut fields = Vec::new();
    put(&mut fields, PUBLISHED.as_bytes());
    put(&mut fields, now_ms.to_string().as_bytes());
    let headers = out.headers.iter().map(|header| {
        let taken = &*header.name == PUBLISHED || METADATA.taken(&header.name);
        Names::header(header, taken)
    });
    for (name, value) in METADATA.write(out, now_ms).chain(headers) {
        put(&mut fields, &name);
        put(&mut fields, &value);
    }
    for (name, value) in &out.raw_headers {
        put(&mut fields, name);
        put(&mut fields, value);
    }
    let payload = if out.tombstone { &[] } else { &out.payload[..] };
    let head = fields.len().to_string();
    let size = MAGIC.len() + head.len() + 1 + fields.len() + payload.len();
    if size > VALUE {
        return Err(PublishError::Message(format!(
            "a value of {size} bytes is more than Redis takes ({VALUE})"
        )));
    }
    let mut value = Vec::with_capacity(size);
    for part in [MAGIC, head.as_bytes(), b"\n", &fields, payload] {
        value.extend_from_slice(part);
    }
    Ok(value)
}

fn put(fields: &mut Vec<u8>, content: &[u8]) {
    fields.extend_from_slice(content.len().to_string().as_bytes());
    fields.push(b':');
    fields.extend_from_slice(content);
    fields.push(b',');
}

#[cfg(test)]
mod tests;
