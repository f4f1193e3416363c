//! Parses the payload as JSON, counts up one field and sends the document to the destination `out`,
//! with the key it came with.

pub mod logic;

use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: Message) -> Result<Outgoing> {
    let counted = logic::count_up(&message.payload)
        .or_reject("no JSON object")
        .code("invalid-json")?;
    let out = Outgoing::new("out", counted).content_type("application/json");
    Ok(Outgoing {
        key: message.key,
        ..out
    })
}
