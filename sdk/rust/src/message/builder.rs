//! Messages for tests of handlers.

use std::time::Duration;

use crate::error::millis;
use crate::{Header, Message, Origin};

/// Builds a [`Message`] as the host would pass it, for tests that run without one.
///
/// ```
/// use wharf_sdk::Message;
///
/// let message = Message::builder("paid").key("order-7").header("tenant", "acme").attempt(2).build();
/// assert_eq!(message.header_text("tenant"), Some("acme"));
/// assert!(!message.is_last_attempt());
/// ```
#[derive(Debug, Clone)]
#[must_use = "call build() for the message"]
pub struct Builder(Message);

impl Message {
    /// A message with this payload: first of four attempts, without key or headers, published at the
    /// epoch, with the host's default five seconds left.
    pub fn builder(payload: impl Into<Vec<u8>>) -> Builder {
        Builder(Message {
            id: "test-1".into(),
            id_stable: true,
            subscription: "test".into(),
            topic: "test".into(),
            origin: None,
            key: None,
            headers: Vec::new(),
            payload: payload.into(),
            tombstone: false,
            timestamp_ms: 0,
            attempt: 1,
            max_attempts: 4,
            deliveries: 1,
            time_left_ms: 5_000,
            content_type: None,
            correlation_id: None,
            reply_to: None,
            priority: None,
            expires_at_ms: None,
        })
    }

    /// A builder with a JSON payload. What cannot be JSON (a map with keys that are no text) makes an
    /// empty payload.
    pub fn builder_json<T: serde::Serialize + ?Sized>(payload: &T) -> Builder {
        let payload = serde_json::to_vec(payload).unwrap_or_default();
        let mut builder = Self::builder(payload);
        builder.0.content_type = Some("application/json".into());
        builder
    }

    /// A deletion marker for a key, as compacted topics carry it.
    pub fn builder_tombstone(key: impl Into<Vec<u8>>) -> Builder {
        let mut builder = Self::builder(Vec::new()).key(key);
        builder.0.tombstone = true;
        builder
    }
}

impl Builder {
    /// The message.
    #[must_use]
    pub fn build(self) -> Message {
        self.0
    }

    /// Its id, `test-1` otherwise.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = id.into();
        self
    }

    /// The name of its subscription, `test` otherwise.
    pub fn subscription(mut self, subscription: impl Into<String>) -> Self {
        self.0.subscription = subscription.into();
        self
    }

    /// Its topic, `test` otherwise.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.0.topic = topic.into();
        self
    }

    /// Where it came from.
    pub fn origin(mut self, origin: Origin) -> Self {
        self.0.origin = Some(origin);
        self
    }

    /// Its key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// One more header. Names may repeat.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Which attempt this is, from 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.0.attempt = attempt;
        self
    }

    /// The limit of attempts, 4 otherwise.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }

    /// When it was published, milliseconds since 1970-01-01 UTC.
    pub fn timestamp_ms(mut self, timestamp_ms: u64) -> Self {
        self.0.timestamp_ms = timestamp_ms;
        self
    }

    /// How long the handler may run.
    pub fn time_left(mut self, left: Duration) -> Self {
        self.0.time_left_ms = millis(left);
        self
    }

    /// What its payload is.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.0.content_type = Some(content_type.into());
        self
    }

    /// What it answers or asks for.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.0.correlation_id = Some(id.into());
        self
    }

    /// Where answers go.
    pub fn reply_to(mut self, reply_to: impl Into<String>) -> Self {
        self.0.reply_to = Some(reply_to.into());
        self
    }

    /// Higher first.
    pub fn priority(mut self, priority: u8) -> Self {
        self.0.priority = Some(priority);
        self
    }

    /// When it expires, milliseconds since 1970-01-01 UTC.
    pub fn expires_at_ms(mut self, expires_at_ms: u64) -> Self {
        self.0.expires_at_ms = Some(expires_at_ms);
        self
    }
}
