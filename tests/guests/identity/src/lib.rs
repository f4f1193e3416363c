//! Sends every message on to the destination `out`, byte for byte and without reading it.

use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: Message) -> Outgoing {
    message.forward("out")
}
