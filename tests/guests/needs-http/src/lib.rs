//! A handler that imports `wasi:http/outgoing-handler`, which nobody granted.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest};
use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: Message) -> Result<Outgoing> {
    let request = OutgoingRequest::new(Fields::new());
    outgoing_handler::handle(request, None).or_unavailable("the request was not sent")?;
    Ok(message.forward("out"))
}
