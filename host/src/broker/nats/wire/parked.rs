//! A message while it waits in its subscription's own stream: what stands beside it, and what is taken off.
//!
//! JetStream has no place for attempts beside a message, and counts every delivery. So a released message is published
//! again, as it was, with one header more, [`PARKED`]. It is believed only on a message of the subscription's own subject:
//! a dead letter of another plugin may bear anything.
//!
//! What is taken off, and kept in that header: everything that begins with `Nats-`. Those are orders to the server (an id
//! to deduplicate by, what the stream has to hold, when to delete), and were obeyed when the message was first published.

use serde::{Deserialize, Serialize};

use super::{Received, is_order};

pub(in super::super) const PARKED: &str = "wharf-parked";

/// What stands beside a waiting message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(in super::super) struct Parked {
    /// Charged attempts.
    pub(in super::super) attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) first_failed_ms: Option<u64>,
    /// Deliveries that ended without a settlement, before it was put here.
    pub(in super::super) deliveries: u32,
    /// Not to be handed out before this, milliseconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) due_ms: Option<u64>,
    /// Where it was first read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) from: Option<From>,
    /// Headers that cannot stand beside it as such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in super::super) headers: Vec<(String, String)>,
}

/// Where a message was first read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) struct From {
    pub(in super::super) subject: String,
    pub(in super::super) stream: String,
    pub(in super::super) sequence: u64,
    /// When it was published, nanoseconds since 1970-01-01 UTC.
    pub(in super::super) published_ns: i64,
}

impl Parked {
    /// What stands beside this one; nothing where it does not come from a subject of ours.
    pub(in super::super) fn of(received: &Received, own: bool) -> Option<Self> {
        if !own {
            return None;
        }
        let text = received.header(PARKED)?;
        serde_json::from_str(text).ok()
    }

    /// The headers with which `received` is published to wait. `self` is what is to stand beside it: counts and a time;
    /// where it came from is kept from before, or noted now.
    pub(in super::super) fn headers(
        mut self,
        received: &Received,
        own: bool,
    ) -> Vec<(String, String)> {
        let before = Self::of(received, own);
        let of_ours = before.is_some();
        let before = before.unwrap_or_default();
        self.from = before.from.or_else(|| received.from());
        self.headers = before.headers;
        let mut headers = Vec::with_capacity(received.headers.len() + 1);
        for (name, value) in &received.headers {
            if of_ours && (name == PARKED || is_order(name)) {
                continue;
            }
            let one = (name.clone(), value.clone());
            if name == PARKED || is_order(name) {
                self.headers.push(one);
            } else {
                headers.push(one);
            }
        }
        // Numbers and texts: there is nothing in it that JSON cannot say.
        let text = serde_json::to_string(&self).unwrap_or_default();
        headers.push((PARKED.to_owned(), text));
        headers
    }
}
