//! What a guest may have published: checked once, when it returns.

use super::settings::{Settings, allows};
use crate::handler::{Fault, FaultKind};
use crate::message::{Message, Outgoing};

/// The destination that answers a message's `reply-to`.
pub(super) const REPLY: &str = "reply";

/// Checks number, bytes and destinations of one call's outputs.
pub(super) fn check(
    settings: &Settings,
    message: &Message,
    outputs: &[Outgoing],
) -> Result<(), Fault> {
    let limits = &settings.limits;
    let bad = |message: String| Err(Fault::new(FaultKind::BadOutput, message));
    if outputs.len() > limits.outputs as usize {
        return bad(format!(
            "{} outputs, at most {} are allowed",
            outputs.len(),
            limits.outputs
        ));
    }
    let bytes: u64 = outputs.iter().map(|out| size(out) as u64).sum();
    if bytes > limits.output.as_u64() {
        return bad(format!(
            "{bytes} bytes of output, at most {} are allowed",
            limits.output
        ));
    }
    for out in outputs {
        destination(settings, message, out)?;
    }
    Ok(())
}

/// Everything of variable length.
fn size(out: &Outgoing) -> usize {
    let text = |text: &Option<bytestring::ByteString>| text.as_ref().map_or(0, |t| t.len());
    out.size()
        + out.destination.len()
        + text(&out.topic)
        + text(&out.id)
        + text(&out.content_type)
        + text(&out.correlation_id)
        + text(&out.reply_to)
}

fn destination(settings: &Settings, message: &Message, out: &Outgoing) -> Result<(), Fault> {
    let denied = |message: String| Err(Fault::new(FaultKind::Denied, message));
    let name = &*out.destination;
    if name == REPLY {
        return reply(settings, message, out);
    }
    if settings.any_destination {
        return Ok(());
    }
    let Some(granted) = settings.destinations.get(name) else {
        let granted: Vec<_> = settings.destinations.keys().map(String::as_str).collect();
        return denied(format!(
            "destination `{name}` is not granted to this plugin (granted: {})",
            if granted.is_empty() {
                "none".to_owned()
            } else {
                granted.join(", ")
            }
        ));
    };
    match &out.topic {
        Some(topic) if !allows(granted, topic) => denied(format!(
            "destination `{name}` may not be given the topic `{topic}`"
        )),
        _ => Ok(()),
    }
}

fn reply(settings: &Settings, message: &Message, out: &Outgoing) -> Result<(), Fault> {
    let why = if !settings.reply && !settings.any_destination {
        "replies are not granted to this plugin (`grants: { reply: true }`)"
    } else if message.reply_to.is_none() {
        "a reply to a message that asks for none"
    } else if out.topic.is_some() {
        "a reply cannot name a topic"
    } else {
        return Ok(());
    };
    Err(Fault::new(FaultKind::Denied, why))
}
