//! Orders for the tests of both versions.

use serde_json::{Value, json};
use wharf_sdk::{Message, MessageBuilder, Outgoing};

/// Two pieces of one item at this price, for a customer in Germany.
pub fn order(currency: &str, unit_price: &str) -> MessageBuilder {
    Message::builder_json(&document(currency, unit_price)).key("c-7")
}

/// The same as JSON, to be spoilt.
pub fn document(currency: &str, unit_price: &str) -> Value {
    json!({
        "order_id": "o-1",
        "customer": { "id": "c-7", "email": "c-7@example.com" },
        "currency": currency,
        "items": [{ "sku": "TEA-01", "quantity": 2, "unit_price": unit_price }],
        "ship_to": "DE",
        "payment_ref": "pay-1",
    })
}

/// A field of an output's JSON, empty where it is not text.
pub fn amount(out: &Outgoing, field: &str) -> String {
    let body: Value = serde_json::from_slice(&out.payload).unwrap_or_default();
    body[field].as_str().unwrap_or_default().to_owned()
}
