use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: Message) -> Result<String> {
    Ok(message.id)
}

fn main() {}
