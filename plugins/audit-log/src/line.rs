//! A record as a line that the host's log shows whole.
//!
//! The host cuts lines after 2 KiB, and half a JSON document is none. So what is long is left out, and named,
//! until the rest fits; the record in the trail is whole. The host also escapes control characters in a way
//! that JSON does not know, so none may be left.

use std::fmt::Write as _;

use wharf_sdk::{OrFail, Result};

use crate::record::Record;

/// Bytes of a line the host shows in one piece.
const LONGEST: usize = 2048;

/// What a line can do without: its name, and how to leave it out; whether there was any.
type Part = (&'static str, fn(&mut Record<'_>) -> bool);

pub(crate) fn write(mut record: Record<'_>) -> Result<String> {
    let parts: [Part; 6] = [
        ("payload", |record| record.payload.take().is_some()),
        ("fields", |record| {
            !std::mem::take(&mut record.fields).is_empty()
        }),
        ("headers", |record| {
            !std::mem::take(&mut record.headers).is_empty()
        }),
        ("correlation_id", |record| {
            record.correlation_id.take().is_some()
        }),
        ("content_type", |record| {
            record.content_type.take().is_some()
        }),
        ("key", |record| record.key.take().is_some()),
    ];
    let mut line = json(&record)?;
    for (name, leave_out) in parts {
        if line.len() <= LONGEST {
            break;
        }
        if leave_out(&mut record) {
            record.left_out.push(name);
            line = json(&record)?;
        }
    }
    Ok(line)
}

/// Compact JSON without a control character.
fn json(record: &Record<'_>) -> Result<String> {
    let text = serde_json::to_string(record).or_reject("a record has no JSON")?;
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // White space of a payload that stands here as it was written: within text it is escaped already.
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() => {
                let _never_fails = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    Ok(line)
}
