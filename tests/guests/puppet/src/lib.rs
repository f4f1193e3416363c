//! Does what the JSON payload says, so that one component serves most tests.
//!
//! The payload is an object with the word `do` and what it needs, see [`order::Order`]. A payload that
//! is empty or no JSON object is echoed to the destination `out`, so that any message can be sent
//! through. A JSON object with an unknown order is rejected with the code `bad-order`, so that a typing
//! error in a test does not pass as an echo.

mod act;
mod describe;
mod order;
mod probe;

use order::Order;
use wharf_sdk::prelude::*;

#[wharf_sdk::handler]
fn handle(message: Message) -> Result<Vec<Outgoing>> {
    match Order::read(&message.payload)? {
        None => Ok(vec![message.forward("out")]),
        Some(order) => act::act(order, message),
    }
}
