use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle<'a>(message: &'a Message) {
    let _ = message;
}

fn main() {}
