//! One message as a line of JSON: what `publish --file` and `test` read, and what `tail --json` writes.
//!
//! ```json
//! {"key": "c-17", "headers": {"source": "web"}, "payload": {"order_id": "o-1"}}
//! ```
//!
//! `payload` is any JSON and is published compact, its numbers and the order of its keys untouched. `payload_text` is
//! text as it is, `payload_base64` any bytes; a key is `key` (or `key_text`), or `key_base64`. `headers` is an object
//! whose values are text or lists of text, or a list of `{"name", "value_text" | "value_base64"}`, which keeps order
//! and bytes. Further: `id`, `content_type`, `correlation_id`, `reply_to`, `priority`, `delay`, `ttl` (`5s`),
//! `tombstone`, `partition`.
//!
//! The same line may carry what the other commands need: `expect`, `name`, `attempt` and the like for `test`,
//! `position` and `published` as written by `tail`. Whoever has no use for a field leaves it; an unknown one is an
//! error, because it is a spelling mistake.

mod headers;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use self::headers::Headers;
use crate::config::parse_duration;
use crate::message::Outgoing;

/// A line as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Line {
    /// What the line shows. For `test`.
    pub(super) name: Option<String>,
    /// The message, where it does not stand in the line itself.
    message: Option<Box<Line>>,
    /// What should come of it. For `test`.
    pub(super) expect: Option<Box<RawValue>>,

    pub(super) destination: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) id: Option<String>,
    key: Option<String>,
    key_text: Option<String>,
    key_base64: Option<String>,
    headers: Headers,
    #[serde(deserialize_with = "any_json")]
    payload: Option<Box<RawValue>>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
    tombstone: bool,
    partition: Option<u32>,
    content_type: Option<String>,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    priority: Option<u8>,
    delay: Option<String>,
    delay_ms: Option<u32>,
    ttl: Option<String>,
    ttl_ms: Option<u32>,

    // Of a message that arrived. For `test`.
    pub(super) id_stable: Option<bool>,
    pub(super) subscription: Option<String>,
    pub(super) attempt: Option<u32>,
    pub(super) max_attempts: Option<u32>,
    pub(super) deliveries: Option<u32>,
    pub(super) timestamp_ms: Option<u64>,
    /// As `tail --json` writes it.
    #[serde(rename = "position")]
    _position: Option<String>,
    #[serde(rename = "published")]
    _published: Option<String>,
    #[serde(rename = "expires")]
    _expires: Option<String>,
}

impl Line {
    /// Reads one line, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // A list would be taken for the fields in their order.
        if !text.trim_start().starts_with('{') {
            return Err("it is not an object such as {\"key\": \"k\", \"payload\": {}}".to_owned());
        }
        serde_json::from_str(text).map_err(|error| explain(&error))
    }

    /// Where the message stands: in the line itself, or in its `message`.
    pub(super) fn message(&self) -> &Self {
        self.message.as_deref().unwrap_or(self)
    }

    /// Whether the payload was written as JSON, so that white space in it means nothing.
    pub(super) fn payload_is_json(&self) -> bool {
        self.payload.is_some()
    }

    /// The message to publish. `destination` and `topic` are taken over as they are.
    pub(super) fn to_outgoing(&self) -> Result<Outgoing, String> {
        let message = Outgoing {
            destination: self.destination.clone().unwrap_or_default().into(),
            topic: self.topic.clone().map(Into::into),
            id: self.id.clone().map(Into::into),
            key: self.key()?,
            headers: self.headers.0.clone(),
            payload: self.payload()?,
            tombstone: self.tombstone,
            partition: self.partition,
            content_type: self.content_type.clone().map(Into::into),
            correlation_id: self.correlation_id.clone().map(Into::into),
            reply_to: self.reply_to.clone().map(Into::into),
            delay_ms: wait("delay", self.delay.as_deref(), self.delay_ms)?,
            ttl_ms: wait("ttl", self.ttl.as_deref(), self.ttl_ms)?,
            priority: self.priority,
            raw_headers: Vec::new(),
        };
        if message.tombstone && !message.payload.is_empty() {
            return Err("a tombstone has no payload".to_owned());
        }
        Ok(message)
    }

    fn key(&self) -> Result<Option<Bytes>, String> {
        let text = only_one("key", [&self.key, &self.key_text, &self.key_base64])?;
        match (text, &self.key_base64) {
            (_, Some(encoded)) => decode("key_base64", encoded).map(Some),
            (text, None) => Ok(text.map(|text| Bytes::from(text.clone()))),
        }
    }

    fn payload(&self) -> Result<Bytes, String> {
        let json = self.payload.as_ref().map(|raw| compact(raw.get()));
        let text = only_one("payload", [&json, &self.payload_text, &self.payload_base64])?;
        match (text, &self.payload_base64) {
            (_, Some(encoded)) => decode("payload_base64", encoded),
            (Some(text), None) => Ok(Bytes::from(text.clone())),
            (None, None) => Ok(Bytes::new()),
        }
    }
}

/// Whatever stands there, `null` included: that is a payload as well.
fn any_json<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

/// The one of these that is there.
fn only_one<'a>(what: &str, forms: [&'a Option<String>; 3]) -> Result<Option<&'a String>, String> {
    let mut there = forms.into_iter().flatten();
    match (there.next(), there.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(format!("the {what} is given twice")),
    }
}

fn decode(field: &str, encoded: &str) -> Result<Bytes, String> {
    BASE64
        .decode(encoded.as_bytes())
        .map(Bytes::from)
        .map_err(|error| format!("`{field}` is not base64: {error}"))
}

/// A time to wait, as text with a unit or in milliseconds.
fn wait(field: &str, text: Option<&str>, ms: Option<u32>) -> Result<Option<u32>, String> {
    match (text, ms) {
        (Some(_), Some(_)) => Err(format!("`{field}` is given twice")),
        (None, ms) => Ok(ms),
        (Some(text), None) => millis(text)
            .map(Some)
            .map_err(|e| format!("`{field}`: {e}")),
    }
}

/// `5s`, `250ms` as milliseconds, at most 49 days.
pub(super) fn millis(text: &str) -> Result<u32, String> {
    let duration = parse_duration(text)?;
    u32::try_from(duration.as_millis()).map_err(|_| format!("`{text}` is more than 49 days"))
}

/// What serde says, without its list of all fields.
pub(super) fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = match text.rsplit_once(" at line ") {
        // There is one line only.
        Some((text, place)) => match place.split_once("column ") {
            Some((_, column)) => format!("{text} at column {column}"),
            None => text.to_owned(),
        },
        None => text,
    };
    let Some((said, fields)) = text.split_once(", expected one of ") else {
        return text;
    };
    let wrong = said.split('`').nth(1).unwrap_or_default();
    let near = fields
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|field| (strsim::damerau_levenshtein(field, wrong), field))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    match near {
        Some((_, field)) => format!("{said}; did you mean `{field}`?"),
        None => said.to_owned(),
    }
}

/// JSON without the white space between its parts, everything else byte for byte.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if inside {
            inside = escaped || c != '"';
            escaped = !escaped && c == '\\';
            text.push(c);
        } else if !c.is_ascii_whitespace() {
            inside = c == '"';
            text.push(c);
        }
    }
    text
}

/// A message as a line, without what is absent.
pub(super) fn write(message: &Outgoing) -> Map<String, Value> {
    let mut line = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            line.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<bytestring::ByteString>| text.as_ref().map(|text| json!(&**text));
    put("topic", text(&message.topic));
    put("id", text(&message.id));
    if let Some(key) = &message.key {
        match std::str::from_utf8(key) {
            Ok(key) => put("key", Some(json!(key))),
            Err(_) => put("key_base64", Some(json!(BASE64.encode(key)))),
        }
    }
    put("headers", headers::write(message));
    if message.tombstone {
        put("tombstone", Some(json!(true)));
    } else {
        let (field, value) = payload(&message.payload);
        put(field, Some(value));
    }
    put("partition", message.partition.map(Value::from));
    put("content_type", text(&message.content_type));
    put("correlation_id", text(&message.correlation_id));
    put("reply_to", text(&message.reply_to));
    put("delay_ms", message.delay_ms.map(Value::from));
    put("ttl_ms", message.ttl_ms.map(Value::from));
    put("priority", message.priority.map(Value::from));
    line
}

/// The payload under the first name that gives it back byte for byte: `payload` where it is compact JSON with its keys
/// in order, `payload_text` for other text, `payload_base64`.
fn payload(bytes: &[u8]) -> (&'static str, Value) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return ("payload_base64", json!(BASE64.encode(bytes)));
    };
    match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            let again = value.to_string();
            if again == text {
                ("payload", value)
            } else {
                ("payload_text", json!(text))
            }
        }
        Err(_not_json) => ("payload_text", json!(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Outgoing, String> {
        Line::parse(text)?.message().to_outgoing()
    }

    #[test]
    fn a_payload_in_its_three_forms() {
        let json = read(r#"{"payload": {"b" : 1.10, "a": " \" x" }}"#).unwrap();
        assert_eq!(json.payload, r#"{"b":1.10,"a":" \" x"}"#);
        assert_eq!(read(r#"{"payload": null}"#).unwrap().payload, "null");
        assert_eq!(read(r#"{"payload_text": "{ "}"#).unwrap().payload, "{ ");
        assert_eq!(
            read(r#"{"payload_base64": "AP8="}"#).unwrap().payload,
            &[0u8, 255][..]
        );
        assert_eq!(read("{}").unwrap().payload, "");
    }

    #[test]
    fn everything_a_line_can_say() {
        let line = r#"{"id": "m", "key": "k", "delay": "1.5s", "ttl_ms": 9, "priority": 3, "reply_to": "r",
            "headers": {"a": "1", "b": ["2", "3"]}, "content_type": "text/plain", "correlation_id": "c"}"#;
        let message = read(line).unwrap();
        assert_eq!(message.delay_ms, Some(1500));
        assert_eq!(message.ttl_ms, Some(9));
        let headers: Vec<_> = message
            .headers
            .iter()
            .map(|h| (&*h.name, &h.value[..]))
            .collect();
        assert_eq!(headers, [("a", &b"1"[..]), ("b", b"2"), ("b", b"3")]);
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text: &str| read(text).unwrap_err();
        assert_eq!(
            wrong(r#"{"paylod": 1}"#),
            "unknown field `paylod`; did you mean `payload`?"
        );
        assert_eq!(
            wrong(r#"{"payload": 1, "payload_text": ""}"#),
            "the payload is given twice"
        );
        assert!(wrong(r#"{"key_base64": "?"}"#).starts_with("`key_base64` is not base64"));
        assert!(
            wrong(r#"{"delay": "5"}"#).contains("has no unit"),
            "{}",
            wrong(r#"{"delay": "5"}"#)
        );
        assert!(wrong("[]").contains("an object such as"), "{}", wrong("[]"));
        assert!(
            wrong(r#"{"payload": "#).contains("EOF"),
            "{}",
            wrong(r#"{"payload": "#)
        );
        assert_eq!(
            wrong(r#"{"tombstone": true, "payload_text": "x"}"#),
            "a tombstone has no payload"
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        for line in [
            r#"{"headers":{"a":"1","b":["2","3"]},"id":"m","key":"k","payload":{"a":1}}"#,
            r#"{"headers":[{"name":"a","value_base64":"/w=="}],"key_base64":"/w==","payload_base64":"/w=="}"#,
            r#"{"payload_text":"{\"b\":1,\"a\":2}"}"#,
            r#"{"key":"k","tombstone":true}"#,
        ] {
            let written = Value::Object(write(&read(line).unwrap())).to_string();
            assert_eq!(written, line);
        }
    }
}
