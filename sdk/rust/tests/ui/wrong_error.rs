use wharf_sdk::prelude::*;

struct Odd;

#[wharf_sdk::handler]
fn handle(_: Message) -> Result<(), Odd> {
    Err(Odd)
}

fn main() {}
