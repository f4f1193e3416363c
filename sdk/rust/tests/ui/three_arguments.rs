use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(text: &str, bytes: &[u8], message: &Message) {
    let _ = (text, bytes, message);
}

fn main() {}
