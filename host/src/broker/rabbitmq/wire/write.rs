//! The AMQP message of an output.

use bytes::Bytes;
use bytestring::ByteString;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, MAX_SHORT_STRING_LENGTH, ShortString};

use super::{
    APP_ID, CONTENT_ENCODING, CONTENT_TYPE, CORRELATION_ID, ESCAPE, EXPIRES, ID, KEY, RAW,
    REPLY_TO, RESERVED, TIMESTAMP_MS, TOMBSTONE, TYPE, value,
};
use crate::message::{Header, Outgoing};
use crate::ports::PublishError;

/// It is on disk when it is confirmed, where its queue is durable.
const PERSISTENT: u8 = 2;

/// A message to be published.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written<'a> {
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) payload: &'a [u8],
}

/// The message of an output; `now_ms` turns a time to live into the time it ends. What AMQP cannot hold is the message's
/// fault.
pub(crate) fn write<'a>(
    out: &'a Outgoing,
    routing_key: &str,
    now_ms: u64,
) -> Result<Written<'a>, PublishError> {
    let Some(routing_key) = short(routing_key) else {
        return Err(fault("a routing key has at most 255 bytes"));
    };
    if out.delay_ms.is_some_and(|d| d > 0) {
        return Err(fault(
            "an exchange cannot hold a message back: publish it without a delay, or to a broker that can",
        ));
    }
    let mut table = Table::default();
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(now_ms / 1000);
    table.put(TIMESTAMP_MS, number(now_ms));
    type Set = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&str, &Option<ByteString>, Set); 4] = [
        (ID, &out.id, BasicProperties::with_message_id),
        (
            CONTENT_TYPE,
            &out.content_type,
            BasicProperties::with_content_type,
        ),
        (
            CORRELATION_ID,
            &out.correlation_id,
            BasicProperties::with_correlation_id,
        ),
        (REPLY_TO, &out.reply_to, BasicProperties::with_reply_to),
    ];
    for (name, text, set) in texts {
        let Some(text) = text else { continue };
        match short(text) {
            Some(text) => properties = set(properties, text),
            None => table.put(name, value::of(text.as_bytes())),
        }
    }
    if let Some(priority) = out.priority {
        properties = properties.with_priority(priority);
    }
    if let Some(ttl) = out.ttl_ms {
        properties = properties.with_expiration(ttl.to_string().into());
        table.put(EXPIRES, number(now_ms.saturating_add(ttl.into())));
    }
    if let Some(key) = &out.key {
        table.put(KEY, value::of(key));
    }
    if out.tombstone {
        table.put(TOMBSTONE, AMQPValue::Boolean(true));
    }
    for header in &out.headers {
        properties = table.header(header, properties);
    }
    let raw = out.raw_headers.iter();
    table.raw.extend(raw.map(|(name, value)| pair(name, value)));
    Ok(Written {
        routing_key,
        properties: properties.with_headers(table.finish()),
        payload: if out.tombstone { &[] } else { &out.payload },
    })
}

#[derive(Default)]
struct Table {
    fields: FieldTable,
    raw: Vec<AMQPValue>,
}

impl Table {
    fn put(&mut self, name: &'static str, value: AMQPValue) {
        self.fields.insert(name.into(), value);
    }

    /// Into the property it came from, where there is one; into the table otherwise, as an array from the second of a name
    /// on; among the raw ones where its name is too long for a table.
    fn header(&mut self, header: &Header, properties: BasicProperties) -> BasicProperties {
        let name = &*header.name;
        if !self.fields.contains_key(name)
            && let Some(text) = std::str::from_utf8(&header.value).ok().and_then(short)
        {
            type Set = fn(BasicProperties, ShortString) -> BasicProperties;
            let place: Option<(bool, Set)> = match name {
                CONTENT_ENCODING => Some((
                    properties.content_encoding().is_some(),
                    BasicProperties::with_content_encoding,
                )),
                TYPE => Some((properties.kind().is_some(), BasicProperties::with_type)),
                APP_ID => Some((properties.app_id().is_some(), BasicProperties::with_app_id)),
                _ => None,
            };
            if let Some((false, set)) = place {
                return set(properties, text);
            }
        }
        let escaped = RESERVED.contains(&name) || name.starts_with(ESCAPE);
        let written = if escaped {
            short(&format!("{ESCAPE}{name}"))
        } else {
            short(name)
        };
        match written {
            Some(name) => self.append(name, &header.value),
            None => self.raw.push(pair(name.as_bytes(), &header.value)),
        }
        properties
    }

    fn append(&mut self, name: ShortString, bytes: &Bytes) {
        let one = value::of(bytes);
        let value = match self.fields.inner().get(name.as_str()) {
            None => one,
            Some(AMQPValue::FieldArray(all)) => {
                let mut all = all.clone();
                all.push(one);
                AMQPValue::FieldArray(all)
            }
            Some(first) => AMQPValue::FieldArray(vec![first.clone(), one].into()),
        };
        self.fields.insert(name, value);
    }

    fn finish(mut self) -> FieldTable {
        if !self.raw.is_empty() {
            let raw = std::mem::take(&mut self.raw);
            self.put(RAW, AMQPValue::FieldArray(raw.into()));
        }
        self.fields
    }
}

fn pair(name: &[u8], value: &[u8]) -> AMQPValue {
    AMQPValue::FieldArray(vec![value::raw(name), value::raw(value)].into())
}

fn number(n: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(n).unwrap_or(i64::MAX))
}

/// As a short string, which has at most 255 bytes. The client's own conversion panics.
pub(crate) fn short(text: &str) -> Option<ShortString> {
    (text.len() <= MAX_SHORT_STRING_LENGTH)
        .then(|| ShortString::try_new(text).ok())
        .flatten()
}

fn fault(problem: &str) -> PublishError {
    PublishError::Message(format!("rabbitmq: {problem}"))
}
