//! A message while it waits in a queue of its subscription's own: what stands beside it, and what is taken off.
//!
//! A message that waits is published again as it was, types of headers and all, with one header more, a table under
//! [`PARKED`]. It is believed only on a message from the subscription's own queue: a dead letter of another plugin may
//! have anything in its headers, `wharf-attempts` among them, and those are not this plugin's attempts.
//!
//! What is taken off, and why (RabbitMQ 3.10):
//! - `expiration`: the queue has a time to live of its own, and the shorter one would end the wait early.
//! - `user_id`: the server refuses a message that bears another user's than the connection's, and closes the channel.
//! - `CC` and `BCC`: the server would deliver copies again to every queue they name.
//! - `x-delivery-count`: it is the count of the queue the message leaves.
//!
//! The server adds its history of dead-lettering (`x-death` and others); what in it is about our queues is taken off when
//! it is read.

use bytestring::ByteString;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};

use super::{DELIVERY_COUNT, ESCAPE, Reading, Received, value, write::short};

pub(super) const PARKED: &str = "wharf-parked";
pub(super) const DEATHS: &str = "x-death";
const FIRST_DEATH: &str = "x-first-death-";
const LAST_DEATH: &str = "x-last-death-";

const ATTEMPTS: &str = "attempts";
const FIRST_FAILED: &str = "first-failed";
const DELIVERIES: &str = "deliveries";
const EXCHANGE: &str = "exchange";
const ROUTING_KEY: &str = "routing-key";
const USER_ID: &str = "user-id";
const ID: &str = "id";

const PERSISTENT: u8 = 2;

/// What stands beside a waiting message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) attempts: u32,
    pub(crate) first_failed_ms: Option<u64>,
    /// Deliveries that ended without a settlement, before it was put here.
    pub(crate) deliveries: u32,
    /// Where it was first published, and by which routing key.
    pub(crate) exchange: Option<ByteString>,
    pub(crate) routing_key: Option<ByteString>,
    /// Whose it is.
    pub(crate) user_id: Option<ByteString>,
    /// The id that was minted for it.
    pub(crate) id: Option<ByteString>,
}

impl Parked {
    /// What stands beside this one; nothing where it does not come from a queue of ours.
    pub(crate) fn of(received: &Received, of: &Reading) -> Self {
        table_of(received, of).map(Self::read).unwrap_or_default()
    }

    fn read(table: &FieldTable) -> Self {
        let field = |name: &str| table.inner().get(name);
        let count = |name| {
            let n = field(name).and_then(value::unsigned).unwrap_or(0);
            u32::try_from(n).unwrap_or(u32::MAX)
        };
        let text = |name| field(name).and_then(value::text);
        Self {
            attempts: count(ATTEMPTS),
            first_failed_ms: field(FIRST_FAILED).and_then(value::unsigned),
            deliveries: count(DELIVERIES),
            exchange: text(EXCHANGE),
            routing_key: text(ROUTING_KEY),
            user_id: text(USER_ID),
            id: text(ID),
        }
    }

    fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        let mut put = |name: &str, value: Option<AMQPValue>| {
            if let Some(value) = value {
                table.insert(name.into(), value);
            }
        };
        let number = |n: u64| AMQPValue::LongLongInt(i64::try_from(n).unwrap_or(i64::MAX));
        let text = |t: &Option<ByteString>| t.as_ref().map(|t| value::of(t.as_bytes()));
        put(ATTEMPTS, Some(number(self.attempts.into())));
        put(FIRST_FAILED, self.first_failed_ms.map(number));
        put(DELIVERIES, Some(number(self.deliveries.into())));
        put(EXCHANGE, text(&self.exchange));
        put(ROUTING_KEY, text(&self.routing_key));
        put(USER_ID, text(&self.user_id));
        put(ID, text(&self.id));
        table
    }

    /// The properties with which `received` is published into a queue of ours. `self` is what is to stand beside it: counts
    /// and a minted id; where it came from is kept from before, or noted now.
    pub(crate) fn properties(mut self, received: &Received, of: &Reading) -> BasicProperties {
        let before = Self::of(received, of);
        let said = |text: &ShortString| Some(ByteString::from(text.as_str()));
        self.exchange = before.exchange.or_else(|| said(&received.exchange));
        self.routing_key = before.routing_key.or_else(|| said(&received.routing_key));
        let user = received.properties.user_id().as_ref();
        self.user_id = before.user_id.or_else(|| user.and_then(said));
        self.id = self.id.or(before.id);

        let mut table = FieldTable::default();
        for (name, value) in received.properties.headers().iter().flatten() {
            match name.as_str() {
                DELIVERY_COUNT => {}
                copies @ ("CC" | "BCC") => {
                    if let Some(name) = short(&format!("{ESCAPE}{copies}")) {
                        table.insert(name, value.clone());
                    }
                }
                _ => {
                    table.insert(name.clone(), value.clone());
                }
            }
        }
        table.insert(PARKED.into(), AMQPValue::FieldTable(self.table()));
        keeping(&received.properties)
            .with_delivery_mode(PERSISTENT)
            .with_headers(table)
    }
}

/// All properties but those that are taken off: the client has no way to take one away.
fn keeping(from: &BasicProperties) -> BasicProperties {
    let mut to = BasicProperties::default();
    type Set = fn(BasicProperties, ShortString) -> BasicProperties;
    let texts: [(&Option<ShortString>, Set); 8] = [
        (from.content_type(), BasicProperties::with_content_type),
        (
            from.content_encoding(),
            BasicProperties::with_content_encoding,
        ),
        (from.correlation_id(), BasicProperties::with_correlation_id),
        (from.reply_to(), BasicProperties::with_reply_to),
        (from.message_id(), BasicProperties::with_message_id),
        (from.kind(), BasicProperties::with_type),
        (from.app_id(), BasicProperties::with_app_id),
        (from.cluster_id(), BasicProperties::with_cluster_id),
    ];
    for (text, set) in texts {
        if let Some(text) = text {
            to = set(to, text.clone());
        }
    }
    if let Some(priority) = from.priority() {
        to = to.with_priority(*priority);
    }
    if let Some(timestamp) = from.timestamp() {
        to = to.with_timestamp(*timestamp);
    }
    to
}

/// Whether a header is there only because the message waited: not the handler's business.
pub(super) fn is_ours(name: &str, value: &AMQPValue, table: &FieldTable, of: &Reading) -> bool {
    if !of.own {
        return false;
    }
    let in_ours = |queue: &str| {
        let queue = table.inner().get(queue).and_then(value::text);
        queue.is_some_and(|queue| queue.starts_with(&*of.prefix))
    };
    match name {
        PARKED => matches!(value, AMQPValue::FieldTable(_)),
        DEATHS => match value {
            AMQPValue::FieldArray(all) => all.as_slice().iter().all(|one| is_our_death(one, of)),
            _ => false,
        },
        _ if name.starts_with(FIRST_DEATH) => in_ours("x-first-death-queue"),
        _ if name.starts_with(LAST_DEATH) => in_ours("x-last-death-queue"),
        _ => false,
    }
}

fn table_of<'a>(received: &'a Received, of: &Reading) -> Option<&'a FieldTable> {
    match received.header(PARKED) {
        Some(AMQPValue::FieldTable(table)) if of.own => Some(table),
        _ => None,
    }
}

/// Whether it was put into our queue to wait; otherwise it was sent there.
pub(crate) fn has_waited(received: &Received, of: &Reading) -> bool {
    table_of(received, of).is_some()
}

/// How long the message waited last, in milliseconds, where it comes out of one of our holding queues.
pub(crate) fn waited_in(received: &Received, of: &Reading) -> Option<u32> {
    let Some(AMQPValue::FieldArray(deaths)) = received.header(DEATHS).filter(|_| of.own) else {
        return None;
    };
    let Some(AMQPValue::FieldTable(last)) = deaths.as_slice().first() else {
        return None;
    };
    let queue = last.inner().get("queue").and_then(value::text)?;
    queue
        .strip_prefix(&*of.prefix)?
        .strip_prefix('.')?
        .parse()
        .ok()
}

/// A history without what happened in our queues.
pub(super) fn deaths(all: &FieldArray, of: &Reading) -> AMQPValue {
    let others = all.as_slice().iter();
    let others = others.filter(|one| !(of.own && is_our_death(one, of)));
    AMQPValue::FieldArray(others.cloned().collect::<Vec<_>>().into())
}

fn is_our_death(one: &AMQPValue, of: &Reading) -> bool {
    let AMQPValue::FieldTable(one) = one else {
        return false;
    };
    let queue = one.inner().get("queue").and_then(value::text);
    queue.is_some_and(|queue| queue.starts_with(&*of.prefix))
}
