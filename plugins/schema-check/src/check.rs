//! The schema, and what is said about a payload that does not fit it.
//!
//! Reasons appear in logs and dead letters, so they name places and rules and never quote a value.

use std::fmt::Write as _;

use jsonschema::{ValidationError, Validator};
use plugins_common::{Settings, pass_on};
use serde_json::Value;
use wharf_sdk::{Error, Message, Outgoing, Result, config};

const OUT: &str = "out";
/// The code of every rejection.
const CODE: &str = "schema";
/// Violations that are named; the first is what a person looks for.
const SHOWN: usize = 5;
/// Characters of one violation. It holds names from the payload, which may be of any length.
const LONGEST: usize = 200;

/// A compiled schema.
pub(crate) struct Check(Validator);

impl Check {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self> {
        let schema: Value =
            serde_json::from_str(&settings.require("schema")?).map_err(|error| {
                config::invalid(format!("the setting `schema` is no JSON: {error}"))
            })?;
        let mut options = jsonschema::options();
        let words = [("true", Some(true)), ("false", Some(false))];
        if let Some(yes) = settings.choice("check_formats", &words, None)? {
            options = options.should_validate_formats(yes);
        }
        let validator = options.build(&schema).map_err(|error| {
            let place = place(&error);
            config::invalid(format!(
                "the setting `schema` is no schema: {place}: {error}"
            ))
        })?;
        Ok(Self(validator))
    }

    /// The message as it came, or why it is rejected. A deletion marker has nothing to check.
    pub(crate) fn pass(&self, message: Message) -> Result<Outgoing> {
        if !message.tombstone {
            self.check(&message.payload)?;
        }
        Ok(pass_on(message, OUT))
    }

    fn check(&self, payload: &[u8]) -> Result<()> {
        let payload: Value = serde_json::from_slice(payload)
            .map_err(|error| rejection(format!("the payload is no JSON: {error}")))?;
        let mut errors = self.0.iter_errors(&payload);
        let Some(first) = errors.next() else {
            return Ok(());
        };
        let mut reason = violation(&first);
        for (shown, error) in (1..).zip(errors) {
            if shown == SHOWN {
                reason.push_str("; and more");
                break;
            }
            let _never_fails = write!(reason, "; {}", violation(&error));
        }
        Err(rejection(reason))
    }
}

fn rejection(reason: String) -> Error {
    Error::reject(reason).with_code(CODE)
}

/// `/lines/0/cents: value is not of type "integer"`.
fn violation(error: &ValidationError<'_>) -> String {
    shortened(&format!("{}: {}", place(error), error.masked()))
}

/// A JSON pointer; that of the whole document is empty, and would not be seen.
fn place(error: &ValidationError<'_>) -> String {
    let pointer = error.instance_path().as_str();
    if pointer.is_empty() {
        "(root)"
    } else {
        pointer
    }
    .to_owned()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
