//! Building what a handler publishes.

use std::time::Duration;

use serde::Serialize;

use crate::error::millis;
use crate::{Error, Header, Outgoing, Result};

/// All fields are public; the methods are for building one in a single expression.
///
/// ```
/// use std::time::Duration;
/// use wharf_sdk::prelude::*;
///
/// let reminder = Outgoing::text("reminders", "pay up")
///     .key("order-7")
///     .header("tenant", "acme")
///     .delay(Duration::from_secs(3600));
/// assert_eq!(reminder.delay_ms, Some(3_600_000));
/// ```
impl Outgoing {
    /// Bytes for a destination by its configured name. A name that the plugin was not granted makes
    /// the whole call a fault, `denied`.
    #[must_use]
    pub fn new(destination: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            destination: destination.into(),
            topic: None,
            id: None,
            key: None,
            headers: Vec::new(),
            payload: payload.into(),
            tombstone: false,
            partition: None,
            content_type: None,
            correlation_id: None,
            reply_to: None,
            delay_ms: None,
            ttl_ms: None,
            priority: None,
            attributes: Vec::new(),
        }
    }

    /// A JSON document, content type `application/json`.
    ///
    /// # Errors
    ///
    /// A rejection with the code `unserializable`, for values that have no JSON (a map whose keys are
    /// no text): a retry would find the same value.
    pub fn json<T: Serialize + ?Sized>(destination: impl Into<String>, body: &T) -> Result<Self> {
        let payload = serde_json::to_vec(body).map_err(|error| {
            Error::reject(format!("an output has no JSON: {error}")).with_code("unserializable")
        })?;
        Ok(Self::new(destination, payload).content_type("application/json"))
    }

    /// Text, content type `text/plain; charset=utf-8`.
    #[must_use]
    pub fn text(destination: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(destination, text.into()).content_type("text/plain; charset=utf-8")
    }

    /// A deletion marker for a key.
    #[must_use]
    pub fn deletion(destination: impl Into<String>, key: impl Into<Vec<u8>>) -> Self {
        Self {
            tombstone: true,
            ..Self::new(destination, Vec::new()).key(key)
        }
    }

    /// Overrides the destination's topic. Allowed only where the grant says so.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// A stable id to deduplicate by. The host mints one from the input's where there is none.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The key: what keeps its order, and goes to one partition.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// One more header. Order is kept and names may repeat.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// More headers, after those there are: `.headers(message.headers)` passes them on.
    #[must_use]
    pub fn headers(mut self, headers: impl IntoIterator<Item = Header>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// A partition of the destination, where it has such.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// What the payload is.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// What this answers or asks for.
    #[must_use]
    pub fn correlation(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Where answers shall go.
    #[must_use]
    pub fn reply_to(mut self, address: impl Into<String>) -> Self {
        self.reply_to = Some(address.into());
        self
    }

    /// Not to be delivered before this long from now, rounded up to milliseconds, at most some 49 days.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = Some(millis(delay));
        self
    }

    /// To be dropped after this long from now, rounded up to milliseconds, at most some 49 days.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_ms = Some(millis(ttl));
        self
    }

    /// Higher first.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// A hint to the host. Never reaches the wire.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::Kind;

    #[test]
    fn every_part_can_be_set() {
        let out = Outgoing::new("d", "p")
            .topic("t")
            .id("i")
            .key("k")
            .header("a", "1")
            .headers([Header {
                name: "a".into(),
                value: b"2".to_vec(),
            }])
            .partition(3)
            .content_type("c")
            .correlation("x")
            .reply_to("r")
            .delay(Duration::from_secs(1))
            .ttl(Duration::from_secs(2))
            .priority(9)
            .attribute("hint", "value");
        let header = |value: &str| Header {
            name: "a".into(),
            value: value.into(),
        };
        assert_eq!(
            out,
            Outgoing {
                destination: "d".into(),
                topic: Some("t".into()),
                id: Some("i".into()),
                key: Some(b"k".to_vec()),
                headers: vec![header("1"), header("2")],
                payload: b"p".to_vec(),
                tombstone: false,
                partition: Some(3),
                content_type: Some("c".into()),
                correlation_id: Some("x".into()),
                reply_to: Some("r".into()),
                delay_ms: Some(1_000),
                ttl_ms: Some(2_000),
                priority: Some(9),
                attributes: vec![("hint".into(), "value".into())],
            }
        );
    }

    #[test]
    fn json_names_its_type_and_refuses_what_has_none() {
        let out = Outgoing::json("d", &[1, 2]).unwrap();
        assert_eq!(out.payload, b"[1,2]");
        assert_eq!(out.content_type.as_deref(), Some("application/json"));

        let no_text_keys = HashMap::from([([1u8], 2u8)]);
        let error = Outgoing::json("d", &no_text_keys).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Reject, Some("unserializable"))
        );
    }

    #[test]
    fn a_deletion_has_a_key_and_no_value() {
        let out = Outgoing::deletion("d", "k");
        assert!(out.tombstone && out.payload.is_empty());
        assert_eq!(out.key.as_deref(), Some(&b"k"[..]));
    }
}
