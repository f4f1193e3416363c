//! How a message lies in an AMQP 0-9-1 message, both ways. The table is in `docs/wire/rabbitmq.md`.
//!
//! Native form, no envelope: what AMQP has a property for is that property, headers are the table of headers, and a few
//! well-known names in it are metadata. [`value`] is what becomes of values that are not text, [`parked`] what stands
//! beside a message while it waits in a queue of ours.
//!
//! What surprises:
//! - The client reads the table into a map: headers come sorted by name, and of a name that is there twice only the last
//!   is left (`FieldTable` of `amq-protocol-types`). So a repeated header is written as an array.
//! - The client's parser takes names and properties that are not UTF-8 for a broken connection (`parse_short_string`).
//!   Such a message never gets here.
//! - Some headers are orders to the server: `CC` and `BCC` route copies, and close the channel where they are not
//!   arrays. A header that bears such a name is written with [`ESCAPE`] before it, as is one that would be read as
//!   metadata.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::message::{Header, Message, Origin, Unrepresentable};

mod frame;
pub(super) mod parked;
mod value;
mod write;

pub(super) use frame::too_large;
use parked::Parked;
pub(super) use write::{short, write};

/// Stands before the name of a header that would be taken for something else.
const ESCAPE: &str = "wharf-header:";

/// Where a property cannot hold them: longer than 255 bytes.
const ID: &str = "wharf-id";
const CONTENT_TYPE: &str = "wharf-content-type";
const CORRELATION_ID: &str = "wharf-correlation-id";
const REPLY_TO: &str = "wharf-reply-to";
/// What AMQP has no place for.
const KEY: &str = "wharf-key";
const TOMBSTONE: &str = "wharf-tombstone";
const EXPIRES: &str = "wharf-expires";
/// Headers whose names a table cannot hold.
const RAW: &str = "wharf-raw-headers";
/// As the server itself writes it where it stamps messages: the property has whole seconds.
pub(super) const TIMESTAMP_MS: &str = "timestamp_in_ms";
/// Set by quorum queues at each delivery after the first.
pub(super) const DELIVERY_COUNT: &str = "x-delivery-count";

/// Names that are not headers, or that the server would act on.
const RESERVED: [&str; 14] = [
    ID,
    CONTENT_TYPE,
    CORRELATION_ID,
    REPLY_TO,
    KEY,
    TOMBSTONE,
    EXPIRES,
    RAW,
    TIMESTAMP_MS,
    parked::PARKED,
    DELIVERY_COUNT,
    parked::DEATHS,
    "CC",
    "BCC",
];

/// Properties the contract has no field for are headers of these names.
const CONTENT_ENCODING: &str = "content-encoding";
const TYPE: &str = "amqp-type";
const APP_ID: &str = "amqp-app-id";
const USER_ID: &str = "amqp-user-id";
const CLUSTER_ID: &str = "amqp-cluster-id";

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Received {
    pub(super) tag: u64,
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    /// It was delivered before and came back, for whatever reason.
    pub(super) redelivered: bool,
    pub(super) properties: BasicProperties,
    pub(super) payload: Bytes,
}

impl From<lapin::message::Delivery> for Received {
    fn from(delivery: lapin::message::Delivery) -> Self {
        Self {
            tag: delivery.delivery_tag,
            exchange: delivery.exchange,
            routing_key: delivery.routing_key,
            redelivered: delivery.redelivered,
            properties: delivery.properties,
            payload: Bytes::from(delivery.data),
        }
    }
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    /// How often it was delivered before, as a quorum queue counts. `None` from a classic queue; also before the first
    /// return, where the count is 0.
    pub(super) fn delivery_count(&self) -> Option<u64> {
        value::unsigned(self.header(DELIVERY_COUNT)?)
    }
}

/// What is the same for every message of a queue.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) broker: Arc<str>,
    pub(super) subscription: Arc<str>,
    pub(super) queue: Arc<str>,
    /// The subscription's source, from which what waits in its own queue came.
    pub(super) source: Arc<str>,
    /// Who reads, as dead letters say it: the queue has no groups.
    pub(super) group: Arc<str>,
    /// It is the subscription's own second queue: what stands beside its messages is ours.
    pub(super) own: bool,
    /// How names of the subscription's own queues begin.
    pub(super) prefix: Arc<str>,
}

/// The message that was delivered. `mint` makes an id where there is none; `deliveries` is what [`Message::deliveries`]
/// will be.
pub(super) fn read(
    received: &Received,
    of: &Reading,
    deliveries: u32,
    mint: impl FnOnce() -> ByteString,
) -> Message {
    let parked = Parked::of(received, of);
    let routing_key = parked.routing_key.as_deref();
    let mut message = Message {
        id: ByteString::new(),
        id_stable: true,
        subscription: Arc::clone(&of.subscription),
        topic: routing_key.unwrap_or(received.routing_key.as_str()).into(),
        origin: Origin {
            broker: Arc::clone(&of.broker),
            source: Arc::clone(match parked::has_waited(received, of) {
                true => &of.source,
                false => &of.queue,
            }),
            partition: None,
            position: received.tag.to_string().into(),
            group: Some(Arc::clone(&of.group)),
        },
        key: None,
        headers: Vec::new(),
        payload: received.payload.clone(),
        tombstone: false,
        timestamp_ms: 0,
        content_type: None,
        correlation_id: None,
        reply_to: None,
        priority: None,
        expires_at_ms: None,
        attempts: parked.attempts,
        first_failed_ms: parked.first_failed_ms,
        deliveries,
        unrepresentable: None,
        request: false,
    };
    properties(&received.properties, &parked, &mut message);
    if let Some(table) = received.properties.headers() {
        headers(table, of, &mut message);
    }
    if message.tombstone {
        message.payload = Bytes::new();
    }
    if message.id.is_empty() {
        message.id_stable = false;
        message.id = parked.id.unwrap_or_else(mint);
    }
    message
}

fn text(property: &Option<ShortString>) -> Option<ByteString> {
    property.as_ref().map(|p| p.as_str().to_owned().into())
}

fn properties(from: &BasicProperties, parked: &Parked, message: &mut Message) {
    message.id = text(from.message_id()).unwrap_or_default();
    message.content_type = text(from.content_type());
    message.correlation_id = text(from.correlation_id());
    message.reply_to = text(from.reply_to());
    message.priority = *from.priority();
    message.timestamp_ms = from.timestamp().unwrap_or(0).saturating_mul(1000);
    let user = text(from.user_id()).or_else(|| parked.user_id.clone());
    let others = [
        (CONTENT_ENCODING, text(from.content_encoding())),
        (TYPE, text(from.kind())),
        (APP_ID, text(from.app_id())),
        (USER_ID, user),
        (CLUSTER_ID, text(from.cluster_id())),
    ];
    for (name, value) in others {
        message
            .headers
            .extend(value.map(|value| Header::text(name, value.to_string())));
    }
}

/// Metadata goes into its place; what cannot be read as what it should be is a header.
fn headers(table: &FieldTable, of: &Reading, message: &mut Message) {
    for (name, value) in table.inner() {
        let name = name.as_str();
        if parked::is_ours(name, value, table, of) || set(name, value, message) {
            continue;
        }
        let bare = ByteString::from(name.strip_prefix(ESCAPE).unwrap_or(name));
        let others;
        let value = match value {
            AMQPValue::FieldArray(deaths) if name == parked::DEATHS => {
                others = parked::deaths(deaths, of);
                &others
            }
            _ => value,
        };
        let add = |value| {
            let name = bare.clone();
            message.headers.push(Header { name, value });
        };
        match value::repeated(value) {
            Some(values) => values.for_each(add),
            None => std::iter::once(value::bytes(value)).for_each(add),
        }
    }
}

fn set(name: &str, value: &AMQPValue, message: &mut Message) -> bool {
    fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
        // A property comes first.
        let good = place.is_none() && value.is_some();
        if good {
            *place = value;
        }
        good
    }
    match name {
        ID => match value::text(value) {
            Some(id) if message.id.is_empty() && !id.is_empty() => {
                message.id = id;
                true
            }
            _ => false,
        },
        CONTENT_TYPE => put(&mut message.content_type, value::text(value)),
        CORRELATION_ID => put(&mut message.correlation_id, value::text(value)),
        REPLY_TO => put(&mut message.reply_to, value::text(value)),
        KEY => put(&mut message.key, value::string(value)),
        EXPIRES => put(&mut message.expires_at_ms, value::unsigned(value)),
        TOMBSTONE => {
            message.tombstone |= *value == AMQPValue::Boolean(true);
            message.tombstone
        }
        TIMESTAMP_MS => match value::unsigned(value) {
            Some(ms) => {
                message.timestamp_ms = ms;
                true
            }
            None => false,
        },
        DELIVERY_COUNT => value::unsigned(value).is_some(),
        RAW => raw(value, message),
        _ => false,
    }
}

/// Headers whose names a table cannot hold: too long, or not UTF-8.
fn raw(value: &AMQPValue, message: &mut Message) -> bool {
    let AMQPValue::FieldArray(all) = value else {
        return false;
    };
    let pair = |one: &AMQPValue| match one {
        AMQPValue::FieldArray(pair) => match pair.as_slice() {
            [name, value] => Some((value::string(name)?, value::string(value)?)),
            _ => None,
        },
        _ => None,
    };
    let Some(pairs) = all.as_slice().iter().map(pair).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let mut strange = Vec::new();
    for (name, value) in pairs {
        match ByteString::try_from(name.clone()) {
            Ok(name) => message.headers.push(Header { name, value }),
            Err(_) => strange.push((name, value)),
        }
    }
    if let Some((name, _)) = strange.first() {
        message.unrepresentable = Some(Box::new(Unrepresentable {
            reason: format!(
                "{} of the message's header names are not UTF-8, the first is {:?}",
                strange.len(),
                String::from_utf8_lossy(name)
            ),
            headers: strange,
        }));
    }
    true
}

#[cfg(test)]
mod tests;
