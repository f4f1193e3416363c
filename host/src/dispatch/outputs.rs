//! Where a handler's outputs go: configured names to destinations, ids and trace context filled in.

use std::sync::Arc;

use bytestring::ByteString;

use crate::commit::{Destination, Publication};
use crate::dispatch::route::Route;
use crate::handler::{Fault, FaultKind};
use crate::message::{Header, Message, Outgoing};

/// Turns what the handler returned into publications: names resolved, ids and trace context filled in.
pub(super) fn address(
    route: &Route,
    message: &Message,
    outputs: Vec<Outgoing>,
) -> Result<Vec<Publication>, Fault> {
    let mut publications = Vec::with_capacity(outputs.len());
    for (index, mut output) in outputs.into_iter().enumerate() {
        let destination = destination_of(route, message, &output)?;
        if output.id.is_none() {
            // The same at every run of the same message, so that a repeat can be recognised.
            let id = format!("{}/{}/{index}", message.id, route.spec.plugin);
            output.id = Some(ByteString::from(id));
        }
        hand_on_trace(message, &mut output);
        publications.push(Publication {
            destination,
            message: output,
        });
    }
    Ok(publications)
}

fn destination_of(
    route: &Route,
    message: &Message,
    output: &Outgoing,
) -> Result<Arc<Destination>, Fault> {
    if &*output.destination == "reply" {
        let asked = message.reply_to.as_deref().zip(route.replies);
        let (to, kind) = asked.ok_or_else(|| {
            Fault::new(
                FaultKind::Denied,
                "a reply was returned, but the message asks for none, or replies are not granted",
            )
        })?;
        let broker = Arc::clone(&route.broker);
        return Ok(Arc::new(Destination::new("reply", broker, kind, to)));
    }
    route
        .destinations
        .get(&*output.destination)
        .cloned()
        .ok_or_else(|| {
            Fault::new(
                FaultKind::Denied,
                format!(
                    "destination `{}` is not granted to this plugin (add it under `publish`)",
                    output.destination
                ),
            )
        })
}

/// W3C trace context goes through unless the handler set its own.
fn hand_on_trace(message: &Message, output: &mut Outgoing) {
    for name in ["traceparent", "tracestate"] {
        let Some(value) = message.header(name) else {
            continue;
        };
        if !output.headers.iter().any(|h| &*h.name == name) {
            output.headers.push(Header {
                name: ByteString::from_static(name),
                value: value.clone(),
            });
        }
    }
}
