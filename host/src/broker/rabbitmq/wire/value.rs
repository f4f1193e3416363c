//! Values of AMQP tables, and what a header's bytes are made of.
//!
//! The contract's headers are bytes. Texts and bytes are taken as they are; a number, a time or a flag is its text; an
//! array of texts is the header as often as it has members; what is left is JSON. The type is lost where such a message
//! is passed on, but not where it only waits ([`parked`](super::parked)).

use bytes::Bytes;
use bytestring::ByteString;
use data_encoding::BASE64;
use lapin::types::{AMQPValue, ByteArray, DecimalValue};
use serde_json::{Map, Number, Value as Json};

/// Text or bytes, as they are.
pub(super) fn string(value: &AMQPValue) -> Option<Bytes> {
    match value {
        AMQPValue::LongString(s) => Some(Bytes::copy_from_slice(s.as_bytes())),
        AMQPValue::ShortString(s) => Some(Bytes::copy_from_slice(s.as_str().as_bytes())),
        AMQPValue::ByteArray(b) => Some(Bytes::copy_from_slice(b.as_slice())),
        _ => None,
    }
}

/// A text.
pub(super) fn text(value: &AMQPValue) -> Option<ByteString> {
    ByteString::try_from(string(value)?).ok()
}

/// A number that is not negative, of whichever of AMQP's many types: which one, each client chooses by its own rules.
pub(super) fn unsigned(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::Timestamp(n) => Some(*n),
        _ => u64::try_from(integer(value)?).ok(),
    }
}

fn integer(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => *n,
        _ => return None,
    })
}

/// The members of an array of texts.
pub(super) fn repeated(value: &AMQPValue) -> Option<impl Iterator<Item = Bytes>> {
    let AMQPValue::FieldArray(all) = value else {
        return None;
    };
    let all: Option<Vec<Bytes>> = all.as_slice().iter().map(string).collect();
    all.filter(|all| !all.is_empty()).map(Vec::into_iter)
}

/// The bytes of a header.
pub(super) fn bytes(value: &AMQPValue) -> Bytes {
    if let Some(string) = string(value) {
        return string;
    }
    let text = match value {
        AMQPValue::Boolean(b) => b.to_string(),
        AMQPValue::Float(n) => n.to_string(),
        AMQPValue::Double(n) => n.to_string(),
        AMQPValue::DecimalValue(n) => decimal(*n),
        AMQPValue::Timestamp(n) => n.to_string(),
        AMQPValue::Void => String::new(),
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) => json(value).to_string(),
        _ => integer(value).map(|n| n.to_string()).unwrap_or_default(),
    };
    Bytes::from(text)
}

fn decimal(n: DecimalValue) -> String {
    let digits = format!("{:0>1$}", n.value, usize::from(n.scale) + 1);
    let (whole, part) = digits.split_at(digits.len() - usize::from(n.scale));
    if part.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{part}")
    }
}

/// Bytes that are not UTF-8 as `{"$base64": "…"}`, times as seconds, numbers JSON has not as text.
fn json(value: &AMQPValue) -> Json {
    match value {
        AMQPValue::FieldArray(all) => all.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(all) => {
            let pair = |(name, value): (&lapin::types::ShortString, &AMQPValue)| {
                (name.as_str().to_owned(), json(value))
            };
            Json::Object(all.inner().iter().map(pair).collect())
        }
        AMQPValue::Void => Json::Null,
        AMQPValue::Boolean(b) => Json::Bool(*b),
        AMQPValue::Timestamp(n) => Json::Number((*n).into()),
        AMQPValue::Float(_) | AMQPValue::Double(_) | AMQPValue::DecimalValue(_) => {
            let text = String::from_utf8_lossy(&bytes(value)).into_owned();
            let finite = text.parse().ok().and_then(Number::from_f64);
            finite.map_or(Json::String(text), Json::Number)
        }
        _ => match (integer(value), string(value)) {
            (Some(n), _) => Json::Number(n.into()),
            (None, Some(string)) => match ByteString::try_from(string.clone()) {
                Ok(text) => Json::String(text.to_string()),
                Err(_) => {
                    let text = Json::String(BASE64.encode(&string));
                    Json::Object(Map::from_iter([("$base64".to_owned(), text)]))
                }
            },
            (None, None) => Json::Null,
        },
    }
}

/// What a header's bytes are written as: a text where they are one. Any client can read that.
pub(super) fn of(bytes: &[u8]) -> AMQPValue {
    match std::str::from_utf8(bytes) {
        Ok(text) => AMQPValue::LongString(text.into()),
        Err(_) => raw(bytes),
    }
}

/// Bytes as such.
pub(super) fn raw(bytes: &[u8]) -> AMQPValue {
    AMQPValue::ByteArray(ByteArray::from(bytes))
}
