struct Order;

#[wharf_sdk::handler]
fn handle(order: Order) {
    drop(order);
}

fn main() {}
