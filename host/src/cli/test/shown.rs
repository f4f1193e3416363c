//! What came of a message, in the words expectations are written in.

use serde_json::{Map, Value, json};

use crate::cli::line;
use crate::handler::{FailureKind, Fault, Outcome};
use crate::message::Outgoing;

/// What came of a message. `json_payloads`: which outputs' payloads are shown as JSON, where they are JSON; those
/// beyond its end are shown as they read best.
pub(super) fn result(result: &Result<Outcome, Fault>, json_payloads: &[bool]) -> Value {
    match result {
        Ok(Outcome::Done(outputs)) => {
            let outputs = outputs.iter().enumerate().map(|(at, out)| {
                let json = json_payloads.get(at).copied().unwrap_or(true);
                output(out, json)
            });
            json!({ "accept": outputs.collect::<Vec<_>>() })
        }
        Ok(Outcome::Failed(failure)) => {
            let kind = match failure.kind {
                FailureKind::Retry => "retry",
                FailureKind::Reject => "reject",
                FailureKind::Unavailable => "unavailable",
            };
            let after_ms = failure
                .after
                .map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
            declined(kind, failure.code.as_deref(), after_ms)
        }
        Err(fault) => json!({ "fault": { "kind": fault.kind.as_str() } }),
    }
}

/// A failure without its reason, which is for people and may change.
pub(super) fn declined(kind: &str, code: Option<&str>, after_ms: Option<u64>) -> Value {
    let mut details = Map::new();
    if let Some(code) = code {
        details.insert("code".into(), json!(code));
    }
    if let Some(after_ms) = after_ms {
        details.insert("after_ms".into(), json!(after_ms));
    }
    json!({ kind: details })
}

/// An output with its payload as JSON where that is wanted and possible.
pub(super) fn output(out: &Outgoing, json_payload: bool) -> Value {
    let mut object = Map::new();
    object.insert("destination".into(), json!(&*out.destination));
    object.extend(line::write(out));
    for field in ["payload", "payload_text", "payload_base64"] {
        object.remove(field);
    }
    if out.payload.is_empty() {
        return Value::Object(object);
    }
    let parsed = if json_payload {
        serde_json::from_slice::<Value>(&out.payload).ok()
    } else {
        None
    };
    let (field, value) = match (parsed, std::str::from_utf8(&out.payload)) {
        (Some(value), _) => ("payload", value),
        (None, Ok(text)) => ("payload_text", json!(text)),
        (None, Err(_)) => (
            "payload_base64",
            json!(data_encoding::BASE64.encode(&out.payload)),
        ),
    };
    object.insert(field.into(), value);
    Value::Object(object)
}

/// All of a fault.
pub(super) fn fault(fault: &Fault) -> Value {
    json!({
        "kind": fault.kind.as_str(),
        "message": fault.message,
        "stderr": fault.stderr,
        "backtrace": fault.backtrace,
    })
}

/// Indented.
pub(super) fn pretty(value: &Value) -> String {
    // A value always has a text; its short form would do.
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}
