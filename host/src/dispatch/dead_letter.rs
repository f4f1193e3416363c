//! The dead letter: the original message byte for byte, with headers that say what happened to it.
//!
//! Names as in DESIGN §6: `__dlq.errors.*` are those of Kafka's KIP-1191, `wharf-*` are ours, all of them text.
//! A message that was dead-lettered before keeps its first failure time and its redrives; everything else of the
//! former diagnosis is replaced, or a message that fails for ever would grow for ever.

use std::sync::Arc;

use bytestring::ByteString;

use crate::commit::{Cause, Destination, Publication};
use crate::config::Redact;
use crate::dispatch::attempt::Diagnosis;
use crate::message::{Header, Message, Outgoing};

/// Diagnostics longer than this are cut in the middle, in bytes.
const TEXT: usize = 8 * 1024;

/// Headers that describe a failure and are replaced by a later one.
const REPLACED: [&str; 16] = [
    "__dlq.errors.topic",
    "__dlq.errors.partition",
    "__dlq.errors.offset",
    "__dlq.errors.group",
    "__dlq.errors.delivery.count",
    "__dlq.errors.message",
    "wharf-plugin",
    "wharf-subscription",
    "wharf-version",
    "wharf-cause",
    "wharf-code",
    "wharf-attempts",
    "wharf-failed-at",
    "wharf-first-failed-at",
    "wharf-stderr",
    "wharf-backtrace",
];

/// Whether a header of that name describes a failure, so that it goes when the message is handled again.
#[must_use]
pub fn is_diagnosis(name: &str) -> bool {
    REPLACED.contains(&name)
}

/// What a dead letter says beside the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The plugin.
    pub(super) plugin: &'a str,
    /// Digest of the version that ran, or empty.
    pub(super) version: &'a str,
    /// The word for it.
    pub(super) cause: Cause,
    /// Charged attempts.
    pub(super) attempts: u32,
    /// What is known.
    pub(super) diagnosis: &'a Diagnosis,
    /// Now, milliseconds since 1970-01-01 UTC.
    pub(super) now_ms: u64,
}

/// Writes the dead letter of `message`.
pub(super) fn write(
    message: &Message,
    facts: Facts<'_>,
    redact: &Redact,
    to: &Arc<Destination>,
) -> Publication {
    let mut headers: Vec<Header> = message
        .headers
        .iter()
        .filter(|h| !REPLACED.contains(&&*h.name))
        .map(|h| redacted(h, redact))
        .collect();
    let now = rfc3339(facts.now_ms);
    let first = message
        .header("wharf-first-failed-at")
        .and_then(|v| std::str::from_utf8(v).ok())
        .map(str::to_owned)
        .or_else(|| message.first_failed_ms.map(rfc3339))
        .unwrap_or_else(|| now.clone());
    let reason = if redact.reason {
        "(redacted)"
    } else {
        &facts.diagnosis.reason
    };

    let mut add = |name: &'static str, value: String| {
        headers.push(Header::text(ByteString::from_static(name), value));
    };
    add("__dlq.errors.topic", message.topic.to_string());
    if let Some(partition) = message.origin.partition {
        add("__dlq.errors.partition", partition.to_string());
    }
    add("__dlq.errors.offset", message.origin.position.to_string());
    if let Some(group) = &message.origin.group {
        add("__dlq.errors.group", group.to_string());
    }
    add(
        "__dlq.errors.delivery.count",
        message.deliveries.to_string(),
    );
    add("__dlq.errors.message", cut(reason));
    add("wharf-plugin", facts.plugin.to_owned());
    add("wharf-subscription", message.subscription.to_string());
    if !facts.version.is_empty() {
        add("wharf-version", facts.version.to_owned());
    }
    add("wharf-cause", facts.cause.as_str().to_owned());
    if let Some(code) = &facts.diagnosis.code {
        add("wharf-code", code.clone());
    }
    add("wharf-attempts", facts.attempts.to_string());
    add("wharf-first-failed-at", first);
    add("wharf-failed-at", now);
    if !redact.reason && !facts.diagnosis.stderr.is_empty() {
        add("wharf-stderr", cut(&facts.diagnosis.stderr.join("\n")));
    }
    if !facts.diagnosis.backtrace.is_empty() {
        add(
            "wharf-backtrace",
            cut(&facts.diagnosis.backtrace.join("\n")),
        );
    }

    Publication {
        destination: Arc::clone(to),
        message: Outgoing {
            destination: ByteString::from(to.name.to_string()),
            id: Some(message.id.clone()),
            key: message.key.clone(),
            headers,
            payload: if redact.payload {
                bytes::Bytes::new()
            } else {
                message.payload.clone()
            },
            tombstone: message.tombstone,
            content_type: message.content_type.clone(),
            correlation_id: message.correlation_id.clone(),
            reply_to: message.reply_to.clone(),
            priority: message.priority,
            raw_headers: message
                .unrepresentable
                .as_ref()
                .map(|u| u.headers.clone())
                .unwrap_or_default(),
            ..Outgoing::default()
        },
    }
}

/// Takes the longest diagnostics out of a dead letter that was refused for its size. False when there was nothing
/// left to take.
pub(super) fn cut_diagnostics(publication: &mut Publication) -> bool {
    let before = publication.message.headers.len();
    publication.message.headers.retain(|h| {
        !matches!(
            &*h.name,
            "wharf-stderr" | "wharf-backtrace" | "__dlq.errors.message"
        )
    });
    publication.message.headers.len() < before
}

fn redacted(header: &Header, redact: &Redact) -> Header {
    let hidden = redact
        .headers
        .iter()
        .any(|name| name.eq_ignore_ascii_case(&header.name));
    if hidden {
        Header::text(header.name.clone(), "(redacted)".to_owned())
    } else {
        header.clone()
    }
}

/// At most [`TEXT`] bytes: the beginning and, for the end of a stack, the end.
fn cut(text: &str) -> String {
    if text.len() <= TEXT {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(TEXT * 3 / 4);
    let tail = text.ceil_char_boundary(text.len() - TEXT / 4);
    format!("{} … {}", &text[..head], &text[tail..])
}

/// Milliseconds since 1970 as RFC 3339 in UTC, `2026-01-31T12:00:00.000Z`.
fn rfc3339(ms: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
#[path = "dead_letter_tests.rs"]
mod tests;
