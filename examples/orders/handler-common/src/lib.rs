//! What both versions of the order handler share: the order, its rules and its events.
//!
//! The versions differ in how they read a price, and in nothing else.

pub mod examples;
mod order;
mod payment;
mod price;

use serde_json::json;
use wharf_sdk::prelude::*;

pub use order::{Currency, Order};
use price::Quote;

/// What a version of the handler brings along.
pub struct Rules {
    /// Named in every audit record.
    pub version: &'static str,
    /// Reads a price as the smallest units of its currency, or says that it is none.
    pub minor_units: fn(&str, &Currency) -> Option<u64>,
}

/// Validates an order, waits for its payment, prices it, and says so twice: an event for other services and
/// a record for the auditors.
pub fn price_order(message: &Message, rules: &Rules) -> Result<Vec<Outgoing>> {
    let order = Order::read(message)?;
    let quote = Quote::of(&order, rules)?;
    payment::confirm(&order.payment_ref, message.attempt)?;
    Ok(vec![
        event(message, &order, &quote)?,
        audit(message, &order, &quote, rules)?,
    ])
}

fn event(message: &Message, order: &Order, quote: &Quote) -> Result<Outgoing> {
    let body = json!({
        "type": "order.priced",
        "order_id": order.order_id,
        "customer_id": order.customer.id,
        "currency": order.currency,
        "subtotal": quote.text(quote.subtotal),
        "discount": quote.text(quote.discount),
        "tax": quote.text(quote.tax),
        "total": quote.text(quote.total),
    });
    Ok(keyed(message, Outgoing::json("priced", &body)?).header("event-type", "order.priced"))
}

fn audit(message: &Message, order: &Order, quote: &Quote, rules: &Rules) -> Result<Outgoing> {
    let body = json!({
        "message_id": message.id,
        "order_id": order.order_id,
        "ordered_at_ms": message.timestamp_ms,
        "attempt": message.attempt,
        "lines": order.items.len(),
        "total": quote.text(quote.total),
        "currency": order.currency,
        "handler": rules.version,
    });
    Ok(keyed(message, Outgoing::json("audit", &body)?))
}

/// Under the key that the order came with, so that what follows keeps a customer's order too.
fn keyed(message: &Message, mut out: Outgoing) -> Outgoing {
    out.key.clone_from(&message.key);
    out
}

#[cfg(test)]
mod tests;
