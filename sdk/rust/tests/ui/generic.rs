use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle<T>(payload: Json<T>) {
    drop(payload);
}

fn main() {}
