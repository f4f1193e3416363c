use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: &mut Message) {
    message.payload.clear();
}

fn main() {}
