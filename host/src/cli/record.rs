//! A message at rest, the same whichever broker it lies in.

use serde_json::{Map, Value, json};

use super::line;
use super::output::time;
use crate::broker::embedded::StoredMessage;
#[cfg(any(
    feature = "kafka",
    feature = "nats",
    feature = "rabbitmq",
    feature = "redis"
))]
use crate::message::Message;
use crate::message::Outgoing;

/// One message of a topic or stream.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Its place, as its broker writes it: a sequence, an entry id.
    pub(super) position: String,
    /// When it was published, milliseconds since 1970.
    pub(super) published_ms: u64,
    /// Not to be handled after this, milliseconds since 1970.
    pub(super) expires_at_ms: Option<u64>,
    /// Everything else, ready to be published again as it is.
    pub(super) message: Outgoing,
}

impl Record {
    pub(super) fn id(&self) -> &str {
        self.message.id.as_deref().unwrap_or_default()
    }

    /// A header's text; one that is not UTF-8 is shown as well as it can be.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let header = self.message.headers.iter().find(|h| &*h.name == name)?;
        Some(String::from_utf8_lossy(&header.value).into_owned())
    }

    /// As a line that `publish --file` takes, with its place and time.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("position".into(), json!(self.position));
        object.insert("published".into(), json!(time(self.published_ms)));
        if let Some(expires) = self.expires_at_ms {
            object.insert("expires".into(), json!(time(expires)));
        }
        object.extend(line::write(&self.message));
        object
    }
}

impl From<StoredMessage> for Record {
    fn from(stored: StoredMessage) -> Self {
        Self {
            position: stored.seq.to_string(),
            published_ms: stored.published_ms,
            expires_at_ms: stored.expires_at_ms,
            message: stored.to_outgoing(),
        }
    }
}

#[cfg(any(
    feature = "kafka",
    feature = "nats",
    feature = "rabbitmq",
    feature = "redis"
))]
impl From<Message> for Record {
    fn from(message: Message) -> Self {
        Self {
            position: message.origin.position.to_string(),
            published_ms: message.timestamp_ms,
            expires_at_ms: message.expires_at_ms,
            message: Outgoing {
                id: Some(message.id),
                key: message.key,
                headers: message.headers,
                payload: message.payload,
                tombstone: message.tombstone,
                content_type: message.content_type,
                correlation_id: message.correlation_id,
                reply_to: message.reply_to,
                priority: message.priority,
                raw_headers: message
                    .unrepresentable
                    .map(|u| u.headers)
                    .unwrap_or_default(),
                ..Outgoing::default()
            },
        }
    }
}
