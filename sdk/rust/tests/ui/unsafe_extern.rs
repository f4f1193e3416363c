use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
unsafe extern "C" fn handle(message: Message) {
    drop(message);
}

fn main() {}
