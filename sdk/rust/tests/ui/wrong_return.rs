use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: Message) -> u64 {
    message.timestamp_ms
}

fn main() {}
