//! Enters what happened to an account into its ledger, unless the ledger is busy.

use wharf_sdk::prelude::*;

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    busy: bool,
}

#[wharf_sdk::handler]
fn handle(Json(entry): Json<Entry>, message: Message) -> Result<Outgoing> {
    if entry.busy && message.attempt == 1 {
        return retry("the ledger is busy").code("busy");
    }
    Ok(message.forward("ledger"))
}
