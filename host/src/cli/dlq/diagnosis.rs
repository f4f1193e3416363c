//! What a dead letter's headers say.

use serde_json::{Map, Value, json};

use crate::cli::record::Record;
use crate::dispatch::is_diagnosis;
use crate::message::{Header, Outgoing};

/// How often a message was sent back.
const REDRIVES: &str = "wharf-redrives";
/// Names one sending back, the same when it is tried again: whoever finds two with the same has one too many.
const REDRIVE_ID: &str = "wharf-redrive-id";
/// Kept when a message is sent back, so that a later dead letter still has it.
const FIRST_FAILED_AT: &str = "wharf-first-failed-at";

/// The cause, or `unknown` where somebody else put the message there.
pub(super) fn cause(record: &Record) -> String {
    record
        .header("wharf-cause")
        .unwrap_or_else(|| "unknown".to_owned())
}

/// What is shown of a dead letter, by the name it has in JSON.
const SHOWN: [(&str, &str); 14] = [
    ("cause", "wharf-cause"),
    ("code", "wharf-code"),
    ("reason", "__dlq.errors.message"),
    ("attempts", "wharf-attempts"),
    ("deliveries", "__dlq.errors.delivery.count"),
    ("failed_at", "wharf-failed-at"),
    ("first_failed_at", FIRST_FAILED_AT),
    ("redrives", REDRIVES),
    ("version", "wharf-version"),
    ("topic", "__dlq.errors.topic"),
    ("partition", "__dlq.errors.partition"),
    ("offset", "__dlq.errors.offset"),
    ("stderr", "wharf-stderr"),
    ("backtrace", "wharf-backtrace"),
];

/// Everything known, numbers as numbers, stderr and backtrace as lists of lines. Absent is left out.
pub(super) fn to_json(record: &Record) -> Map<String, Value> {
    let known = SHOWN.iter().filter_map(|(name, header)| {
        let text = record.header(header)?;
        let value = match *name {
            "attempts" | "deliveries" | "redrives" => text
                .parse::<u64>()
                .map_or_else(|_| json!(text), Value::from),
            "stderr" | "backtrace" => json!(text.lines().collect::<Vec<_>>()),
            _ => json!(text),
        };
        Some(((*name).to_owned(), value))
    });
    known.collect()
}

/// The message's own headers.
pub(super) fn own_headers(message: &Outgoing) -> impl Iterator<Item = &Header> {
    message
        .headers
        .iter()
        .filter(|h| !is_diagnosis(&h.name) && !is_ours(&h.name))
}

fn is_ours(name: &str) -> bool {
    name == REDRIVES || name == REDRIVE_ID
}

/// The message as it is to be handled again: without its diagnosis, counted once more. `id` names this sending back.
pub(super) fn cured(record: &Record, id: &str) -> Outgoing {
    let redrives: u64 = record
        .header(REDRIVES)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let keeps =
        |h: &&Header| (&*h.name == FIRST_FAILED_AT || !is_diagnosis(&h.name)) && !is_ours(&h.name);
    let mut headers: Vec<Header> = record
        .message
        .headers
        .iter()
        .filter(keeps)
        .cloned()
        .collect();
    headers.push(Header::text(REDRIVES, (redrives + 1).to_string()));
    headers.push(Header::text(REDRIVE_ID, id.to_owned()));
    Outgoing {
        headers,
        ..record.message.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[(&'static str, &str)]) -> Record {
        let headers = headers
            .iter()
            .map(|(n, v)| Header::text(*n, (*v).to_owned()));
        Record {
            position: "7".into(),
            published_ms: 0,
            expires_at_ms: None,
            message: Outgoing {
                headers: headers.collect(),
                ..Outgoing::default()
            },
        }
    }

    #[test]
    fn a_cured_message_has_its_own_headers_and_its_history() {
        let record = letter(&[
            ("source", "web"),
            ("wharf-cause", "trap"),
            ("wharf-first-failed-at", "then"),
            ("__dlq.errors.message", "boom"),
            ("wharf-redrives", "2"),
            ("wharf-redrive-id", "old"),
            ("source", "app"),
        ]);
        let cured = cured(&record, "new");
        let headers: Vec<(&str, &[u8])> = cured
            .headers
            .iter()
            .map(|h| (&*h.name, &h.value[..]))
            .collect();
        let wanted: [(&str, &[u8]); 5] = [
            ("source", b"web"),
            ("wharf-first-failed-at", b"then"),
            ("source", b"app"),
            ("wharf-redrives", b"3"),
            ("wharf-redrive-id", b"new"),
        ];
        assert_eq!(headers, wanted);
    }

    #[test]
    fn a_letter_by_somebody_else_has_no_cause() {
        assert_eq!(cause(&letter(&[])), "unknown");
        assert_eq!(cause(&letter(&[("wharf-cause", "trap")])), "trap");
    }
}
