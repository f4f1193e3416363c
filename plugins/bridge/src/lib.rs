//! Forwards every message to the destination `out`, unchanged but for what its settings say.

mod rules;

use plugins_common::Once;
use rules::Rules;
use wharf_sdk::prelude::*;

thread_local! {
    static RULES: Once<Rules> = const { Once::new() };
}

/// One message in, the same one out.
#[wharf_sdk::handler]
fn handle(message: Message) -> Result<Option<Outgoing>> {
    RULES.with(|rules| rules.get(Rules::new)?.forward(message))
}
