//! What is recorded, and where it goes.

use plugins_common::Settings;
use wharf_sdk::{Message, Outgoing, Result, config};

use crate::line;
use crate::record::Record;

const TRAIL: &str = "trail";

/// The settings of an audit log. Without any, nothing of a payload and no header is recorded.
pub(crate) struct Audit {
    /// JSON pointers into the payload.
    pub(crate) fields: Vec<String>,
    /// Names of headers.
    pub(crate) headers: Vec<String>,
    /// Whether the payload itself is recorded.
    pub(crate) payload: bool,
    log: bool,
    trail: bool,
}

/// What becomes of one message.
pub(crate) struct Audited {
    pub(crate) line: Option<String>,
    pub(crate) record: Option<Outgoing>,
}

impl Audit {
    pub(crate) fn new(settings: &mut Settings) -> Result<Self> {
        let audit = Self {
            fields: settings.list("fields"),
            headers: settings.list("headers"),
            payload: settings.choice("payload", &[("digest", false), ("whole", true)], false)?,
            log: settings.switch("log", true)?,
            trail: settings.switch("trail", false)?,
        };
        let pointer = |field: &&String| !field.starts_with('/');
        if let Some(wrong) = audit.fields.iter().find(pointer) {
            let reason =
                format!("`{wrong}` in the setting `fields` is no JSON pointer: `/{wrong}`?");
            return Err(config::invalid(reason));
        }
        if !audit.log && !audit.trail {
            return Err(config::invalid(
                "neither `log` nor `trail` is `true`: nothing would be recorded",
            ));
        }
        Ok(audit)
    }

    pub(crate) fn audit(&self, message: &Message) -> Result<Audited> {
        let record = Record::of(message, self);
        let out = if self.trail {
            let mut out = Outgoing::json(TRAIL, &record)?;
            // Records of one key stand in the order of its messages.
            out.key.clone_from(&message.key);
            out.correlation_id.clone_from(&message.correlation_id);
            Some(out)
        } else {
            None
        };
        let line = self.log.then(|| line::write(record)).transpose()?;
        Ok(Audited { line, record: out })
    }
}

#[cfg(test)]
mod tests;
