struct Order;

#[wharf_sdk::handler]
fn handle(order: &Order) {
    let _ = order;
}

fn main() {}
