use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
async fn handle(message: Message) -> Result {
    drop(message);
    Ok(())
}

fn main() {}
