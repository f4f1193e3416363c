//! Prices orders: the first version.
//!
//! Its author had only seen prices such as `12.50`. An order in yen or won, whose prices have no decimals,
//! makes it panic, and the host keeps the message as a dead letter with the panic's text.

use orders_common::{Currency, Rules, price_order};
use wharf_sdk::prelude::*;

const RULES: Rules = Rules {
    version: "1",
    minor_units,
};

/// One order in; its event and its audit record out.
#[wharf_sdk::handler]
pub fn handle(message: Message) -> Result<Vec<Outgoing>> {
    price_order(&message, &RULES)
}

/// A price in cents.
fn minor_units(price: &str, _: &Currency) -> Option<u64> {
    let (whole, cents) = price.split_once('.').expect("a price has two decimals");
    if cents.len() != 2 {
        return None;
    }
    let (whole, cents): (u64, u64) = (whole.parse().ok()?, cents.parse().ok()?);
    whole.checked_mul(100)?.checked_add(cents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orders_common::examples::order;

    #[test]
    fn prices_what_has_two_decimals() {
        let outputs = handle(order("EUR", "12.50").build()).unwrap();
        assert_eq!(outputs.len(), 2);
    }

    #[test]
    #[should_panic(expected = "a price has two decimals")]
    fn has_its_bug() {
        let _never = handle(order("JPY", "1200").build());
    }
}
