//! Reading a message, and building one for a test.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use crate::extract::{not_json, not_utf8};
use crate::{Header, Message, Outgoing, Result};

mod builder;

pub use builder::Builder;

/// All fields are public; these methods are the readings of them that handlers need again and again.
impl Message {
    /// The payload parsed as JSON.
    ///
    /// # Errors
    ///
    /// A rejection with the code `invalid-json`, naming line and column: what does not parse today
    /// will not parse tomorrow.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|error| not_json(&error))
    }

    /// The payload as text.
    ///
    /// # Errors
    ///
    /// A rejection with the code `invalid-utf8`.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.payload).map_err(not_utf8)
    }

    /// The value of the first header of this name. Names are compared exactly, in case too; use
    /// [`Message::headers_named`] where a name may repeat.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|header| header.name == name)
            .map(|header| header.value.as_slice())
    }

    /// The first header of this name as text, or `None` where it is absent or not UTF-8.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all headers of this name, in their order.
    pub fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let named = move |header: &&'a Header| header.name == name;
        self.headers
            .iter()
            .filter(named)
            .map(|header| header.value.as_slice())
    }

    /// The key as text, or `None` where it is absent or not UTF-8.
    pub fn key_text(&self) -> Option<&str> {
        self.key
            .as_deref()
            .and_then(|key| std::str::from_utf8(key).ok())
    }

    /// When the message was published.
    pub fn published_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.timestamp_ms)
    }

    /// How long this call may still run, counted from its start.
    pub fn time_left(&self) -> Duration {
        Duration::from_millis(self.time_left_ms.into())
    }

    /// Whether the next retry would be one too many. The place for a cheaper answer, or for a
    /// rejection with a better reason than "exhausted".
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }

    /// An answer to who asked: published to `reply-to`, correlated by the request's correlation id, or
    /// by its own id where it has none. The plugin needs the grant `reply`.
    #[must_use]
    pub fn reply(&self, payload: impl Into<Vec<u8>>) -> Outgoing {
        let correlation = self.correlation_id.as_ref().unwrap_or(&self.id);
        Outgoing::new("reply", payload).correlation(correlation)
    }

    /// As [`Message::reply`], with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`Outgoing::json`].
    pub fn reply_json<T: serde::Serialize + ?Sized>(&self, body: &T) -> Result<Outgoing> {
        let correlation = self.correlation_id.as_ref().unwrap_or(&self.id);
        Ok(Outgoing::json("reply", body)?.correlation(correlation))
    }

    /// The same message for another destination, byte for byte: payload, key, headers, deletion marker,
    /// content type, correlation id and reply address.
    #[must_use]
    pub fn forward(self, destination: impl Into<String>) -> Outgoing {
        Outgoing {
            key: self.key,
            headers: self.headers,
            tombstone: self.tombstone,
            content_type: self.content_type,
            correlation_id: self.correlation_id,
            reply_to: self.reply_to,
            priority: self.priority,
            ..Outgoing::new(destination, self.payload)
        }
    }
}

#[cfg(test)]
mod tests;
