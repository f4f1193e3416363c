use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle() -> Result<Outgoing> {
    Outgoing::json("out", &1)
}

fn main() {}
