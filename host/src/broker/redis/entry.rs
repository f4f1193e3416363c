//! Entry ids, and taking server replies apart.
//!
//! Replies are read as raw [`Value`]s: the typed stream reply of the client copies every field into a map, which
//! halves the rate and loses order and repeats.

use std::fmt;

use bytes::Bytes;
use redis::Value;

/// `<milliseconds>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryId {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

impl EntryId {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (ms, seq) = text.split_once('-')?;
        Some(Self {
            ms: ms.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The fields of an entry in order, repeats kept.
pub(super) type Fields = Vec<(Bytes, Bytes)>;

/// An entry as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) id: EntryId,
    pub(super) fields: Fields,
}

/// The bytes of a string reply, without copying them.
pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(b) => Some(Bytes::from(b)),
        Value::SimpleString(s) => Some(Bytes::from(s)),
        Value::Int(i) => Some(Bytes::from(i.to_string())),
        _ => None,
    }
}

/// The items of an array reply.
pub(super) fn items(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// An integer, also where it comes as text.
pub(super) fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::BulkString(b) => std::str::from_utf8(b).ok()?.parse().ok(),
        _ => None,
    }
}

/// Text, where the bytes are UTF-8.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(b) => String::from_utf8(b).ok(),
        Value::SimpleString(s) => Some(s),
        _ => None,
    }
}

/// `[field, value, field, value, …]`
pub(super) fn fields(value: Value) -> Option<Fields> {
    let mut flat = items(value)?.into_iter();
    let mut fields = Vec::with_capacity(flat.len() / 2);
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        fields.push((bytes(name)?, bytes(value)?));
    }
    Some(fields)
}

/// `[id, [field, value, …]]`. `None` for an entry deleted while pending, whose fields are nil.
pub(super) fn entry(value: Value) -> Option<Raw> {
    let mut pair = items(value)?.into_iter();
    let id = EntryId::parse(&bytes(pair.next()?)?)?;
    Some(Raw {
        id,
        fields: fields(pair.next()?)?,
    })
}

/// `[entry, entry, …]`
pub(super) fn entries(value: Value) -> Vec<Raw> {
    items(value)
        .unwrap_or_default()
        .into_iter()
        .filter_map(entry)
        .collect()
}

/// The reply of a group read: `[[stream, entries], …]`, nil when nothing came.
pub(super) fn group_read(value: Value) -> Vec<(Bytes, Vec<Raw>)> {
    items(value)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|stream| {
            let mut pair = items(stream)?.into_iter();
            Some((bytes(pair.next()?)?, entries(pair.next()?)))
        })
        .collect()
}

/// A flat `[name, value, …]` reply, as XINFO gives: the value of one name.
pub(super) fn lookup(flat: &[Value], name: &str) -> Option<Value> {
    flat.chunks_exact(2)
        .find(|pair| matches!(&pair[0], Value::BulkString(b) if b == name.as_bytes()))
        .map(|pair| pair[1].clone())
}
