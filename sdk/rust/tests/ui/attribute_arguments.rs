use wharf_sdk::prelude::*;

#[wharf_sdk::handler(batch)]
fn handle(message: Message) {
    drop(message);
}

fn main() {}
