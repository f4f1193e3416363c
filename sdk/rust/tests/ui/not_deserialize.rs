use wharf_sdk::prelude::*;

struct Order;

#[wharf_sdk::handler]
fn handle(order: Json<Order>) {
    drop(order);
}

fn main() {}
