use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: impl Into<Message>) -> impl IntoReply {
    drop(message.into());
}

fn main() {}
