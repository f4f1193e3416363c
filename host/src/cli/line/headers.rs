//! Headers in a line: an object for the hand, a list where order or bytes matter.

use std::fmt;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::message::{Header, Outgoing};

/// Headers in the order they are written in.
#[derive(Debug, Default)]
pub(super) struct Headers(pub(super) Vec<Header>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    name: String,
    value: Option<String>,
    value_text: Option<String>,
    value_base64: Option<String>,
}

impl Item {
    fn header(self) -> Result<Header, String> {
        let value = match (self.value.or(self.value_text), self.value_base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(encoded)) => BASE64
                .decode(encoded.as_bytes())
                .map(Bytes::from)
                .map_err(|error| format!("`value_base64` is not base64: {error}"))?,
            (None, None) => return Err(format!("the header `{}` has no value", self.name)),
            (Some(_), Some(_)) => {
                return Err(format!(
                    "the value of the header `{}` is given twice",
                    self.name
                ));
            }
        };
        Ok(Header {
            name: self.name.into(),
            value,
        })
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers as {\"name\": \"text\"} or as a list of {\"name\", \"value_text\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let values = map.next_value::<Values>().map_err(|_| {
                A::Error::custom(format!("the header `{name}` is text, or a list of text"))
            })?;
            match values {
                Values::One(value) => headers.push(Header::text(name, value)),
                Values::Many(values) => {
                    headers.extend(values.into_iter().map(|v| Header::text(name.clone(), v)));
                }
            }
        }
        Ok(Headers(headers))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some(item) = items.next_element::<Item>()? {
            headers.push(item.header().map_err(A::Error::custom)?);
        }
        Ok(Headers(headers))
    }
}

/// The headers of a message: an object where all are text, a list otherwise. `None` where there are none.
pub(super) fn write(message: &Outgoing) -> Option<Value> {
    if message.headers.is_empty() && message.raw_headers.is_empty() {
        return None;
    }
    let text: Option<Vec<(&str, &str)>> = message
        .headers
        .iter()
        .map(|h| Some((&*h.name, std::str::from_utf8(&h.value).ok()?)))
        .collect();
    match text {
        Some(text) if message.raw_headers.is_empty() => Some(object(&text)),
        _ => Some(list(message)),
    }
}

fn object(headers: &[(&str, &str)]) -> Value {
    let mut object = Map::new();
    for (name, value) in headers {
        match object.get_mut(*name) {
            None => {
                object.insert((*name).to_owned(), json!(value));
            }
            Some(Value::Array(values)) => values.push(json!(value)),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    Value::Object(object)
}

fn list(message: &Outgoing) -> Value {
    let value = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => ("value_text", json!(text)),
        Err(_) => ("value_base64", json!(BASE64.encode(value))),
    };
    let named = message.headers.iter().map(|header| {
        let (form, value) = value(&header.value);
        json!({ "name": &*header.name, form: value })
    });
    // Names that are no text: for reading only, no line can publish them.
    let raw = message.raw_headers.iter().map(|(name, bytes)| {
        let (form, value) = value(bytes);
        json!({ "name_base64": BASE64.encode(name), form: value })
    });
    Value::Array(named.chain(raw).collect())
}
