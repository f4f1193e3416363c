//! What is recorded of a message: a pure function of it, so that a repeat makes the same record.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use wharf_sdk::Message;

use crate::audit::Audit;

/// In the order in which people look for it, under the names `wharf tail --json` has, where it has them.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    id: &'a str,
    subscription: &'a str,
    topic: &'a str,
    /// When the message was published. When it was recorded is the record's own time at its broker.
    published: String,
    #[serde(flatten)]
    pub(crate) key: Option<Key<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tombstone: bool,
    size: usize,
    /// Of the payload; a deletion marker has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<&'a str, Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) fields: BTreeMap<&'a str, Value>,
    #[serde(flatten)]
    pub(crate) payload: Option<Payload<'a>>,
    /// What a line had no room for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(crate) enum Key<'a> {
    #[serde(rename = "key")]
    Text(&'a str),
    #[serde(rename = "key_base64")]
    Bytes(String),
}

#[derive(Debug, Serialize)]
pub(crate) enum Payload<'a> {
    /// As it was written: a number keeps its digits.
    #[serde(rename = "payload")]
    Json(&'a RawValue),
    #[serde(rename = "payload_text")]
    Text(&'a str),
    #[serde(rename = "payload_base64")]
    Bytes(String),
}

impl<'a> Record<'a> {
    pub(crate) fn of(message: &'a Message, audit: &'a Audit) -> Self {
        let published = UNIX_EPOCH.checked_add(Duration::from_millis(message.timestamp_ms));
        let published = published.unwrap_or(UNIX_EPOCH);
        Self {
            id: &message.id,
            subscription: &message.subscription,
            topic: &message.topic,
            published: humantime::format_rfc3339_millis(published).to_string(),
            key: message.key.as_deref().map(key),
            content_type: message.content_type.as_deref(),
            correlation_id: message.correlation_id.as_deref(),
            tombstone: message.tombstone,
            size: message.payload.len(),
            sha256: (!message.tombstone).then(|| digest(&message.payload)),
            headers: headers(message, &audit.headers),
            fields: fields(&message.payload, &audit.fields),
            payload: (audit.payload && !message.tombstone).then(|| payload(&message.payload)),
            left_out: Vec::new(),
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn key(bytes: &[u8]) -> Key<'_> {
    std::str::from_utf8(bytes).map_or_else(|_| Key::Bytes(BASE64.encode(bytes)), Key::Text)
}

fn payload(bytes: &[u8]) -> Payload<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text).map_or(Payload::Text(text), Payload::Json),
        Err(_) => Payload::Bytes(BASE64.encode(bytes)),
    }
}

/// Those headers by the names they are asked for by, whatever their case.
fn headers<'a>(message: &'a Message, names: &'a [String]) -> BTreeMap<&'a str, Vec<Cow<'a, str>>> {
    let mut found: BTreeMap<&str, Vec<Cow<'_, str>>> = BTreeMap::new();
    for header in &message.headers {
        let mut names = names.iter();
        if let Some(name) = names.find(|name| name.eq_ignore_ascii_case(&header.name)) {
            let value = String::from_utf8_lossy(&header.value);
            found.entry(name).or_default().push(value);
        }
    }
    found
}

/// What the pointers find, where the payload is JSON at all.
fn fields<'a>(payload: &[u8], pointers: &'a [String]) -> BTreeMap<&'a str, Value> {
    if pointers.is_empty() {
        return BTreeMap::new();
    }
    let payload: Value = serde_json::from_slice(payload).unwrap_or_default();
    let found = pointers.iter().filter_map(|pointer| {
        let value = payload.pointer(pointer)?;
        Some((pointer.as_str(), value.clone()))
    });
    found.collect()
}
