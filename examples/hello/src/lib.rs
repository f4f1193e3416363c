//! Greets who is named in the payload.

use wharf_sdk::prelude::*;

#[derive(Deserialize)]
struct Visitor {
    name: String,
}

#[wharf_sdk::handler]
fn handle(Json(visitor): Json<Visitor>) -> Outgoing {
    Outgoing::text("greetings", format!("Hello, {}!", visitor.name))
}
