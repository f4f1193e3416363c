//! Writes one line about every message and, where it is told to, publishes one record to the destination `trail`.

mod audit;
mod line;
mod record;

use audit::Audit;
use plugins_common::Once;
use wharf_sdk::prelude::*;

thread_local! {
    static AUDIT: Once<Audit> = const { Once::new() };
}

/// One message in; a line on standard output, and perhaps a record out.
#[wharf_sdk::handler]
fn handle(message: Message) -> Result<Option<Outgoing>> {
    AUDIT.with(|audit| {
        let audited = audit.get(Audit::new)?.audit(&message)?;
        if let Some(line) = &audited.line {
            println!("{line}");
        }
        Ok(audited.record)
    })
}
