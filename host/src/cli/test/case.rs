//! A message to try, and what should come of it.

use std::path::Path;

use bytes::Bytes;

use super::expect::Expected;
use crate::cli::failure::{Failure, Result};
use crate::cli::line::Line;
use crate::handler::AttemptInfo;
use crate::message::{Message, Origin, Outgoing};

/// What a message has where its line does not say.
const ID: &str = "m-1";
const NAME: &str = "test";
const TIMESTAMP_MS: u64 = 1_700_000_000_000;
const MAX_ATTEMPTS: u32 = 4;

/// One message.
pub(super) struct Case {
    /// For people.
    pub(super) name: String,
    pub(super) message: Message,
    pub(super) attempt: AttemptInfo,
    /// Nothing is checked where this is absent.
    pub(super) expected: Option<Expected>,
}

impl Case {
    /// A message with this payload.
    pub(super) fn inline(payload: &str) -> Self {
        let out = Outgoing {
            payload: Bytes::from(payload.to_owned()),
            ..Outgoing::default()
        };
        Self {
            name: "message".to_owned(),
            message: message(&Line::default(), out),
            attempt: attempt(&Line::default()),
            expected: None,
        }
    }

    fn parse(text: &str, number: usize) -> std::result::Result<Self, String> {
        let line = Line::parse(text)?;
        let given = line.message();
        let expected = line
            .expect
            .as_ref()
            .map(|expect| Expected::parse(expect.get()));
        Ok(Self {
            name: line
                .name
                .clone()
                .unwrap_or_else(|| format!("line {number}")),
            message: message(given, given.to_outgoing()?),
            attempt: attempt(given),
            expected: expected.transpose()?,
        })
    }
}

/// The lines of a file; which are wrong, and how, where any are.
pub(super) fn read(file: &Path) -> Result<Vec<Case>> {
    parse_lines(file, Case::parse)
}

/// Every line that is not blank, or all that are wrong.
pub(super) fn parse_lines<T>(
    file: &Path,
    parse: impl Fn(&str, usize) -> std::result::Result<T, String>,
) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))?;
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let mut parsed = Vec::new();
    let mut wrong = Vec::new();
    for (number, line) in lines {
        match parse(line, number) {
            Ok(one) => parsed.push(one),
            Err(reason) => wrong.push(format!("{}:{number}: {reason}", file.display())),
        }
    }
    if wrong.is_empty() {
        Ok(parsed)
    } else {
        Err(Failure::new(wrong.join("\n")))
    }
}

fn attempt(line: &Line) -> AttemptInfo {
    AttemptInfo {
        attempt: line.attempt.unwrap_or(1),
        max_attempts: line.max_attempts.unwrap_or(MAX_ATTEMPTS),
    }
}

fn message(line: &Line, out: Outgoing) -> Message {
    let name = |text: &Option<String>| text.as_deref().unwrap_or(NAME).into();
    let timestamp_ms = line.timestamp_ms.unwrap_or(TIMESTAMP_MS);
    Message {
        id: out.id.unwrap_or_else(|| ID.into()),
        id_stable: line.id_stable.unwrap_or(true),
        subscription: name(&line.subscription),
        topic: name(&line.topic),
        origin: Origin {
            broker: NAME.into(),
            source: name(&line.topic),
            partition: out.partition,
            position: "1".into(),
            group: None,
        },
        key: out.key,
        headers: out.headers,
        payload: out.payload,
        tombstone: out.tombstone,
        timestamp_ms,
        content_type: out.content_type,
        correlation_id: out.correlation_id,
        reply_to: out.reply_to,
        priority: out.priority,
        expires_at_ms: out.ttl_ms.map(|ttl| timestamp_ms + u64::from(ttl)),
        attempts: line.attempt.unwrap_or(1).saturating_sub(1),
        first_failed_ms: None,
        deliveries: line.deliveries.unwrap_or(1),
        unrepresentable: None,
        request: false,
    }
}
