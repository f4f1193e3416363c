//! Accepts everything and sends nothing: what is left is the cost of the host.

use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(_: &Message) {}
