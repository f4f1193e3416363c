//! Forwards messages whose payload a JSON Schema finds valid to the destination `out`, and rejects the rest.

mod check;

use check::Check;
use plugins_common::Once;
use wharf_sdk::prelude::*;

thread_local! {
    // Compiling a schema costs more than checking many messages by it.
    static CHECK: Once<Check> = const { Once::new() };
}

/// One message in; the same one out, or a rejection.
#[wharf_sdk::handler]
fn handle(message: Message) -> Result<Outgoing> {
    CHECK.with(|check| check.get(Check::new)?.pass(message))
}
