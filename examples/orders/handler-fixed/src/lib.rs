//! Prices orders: the second version, which knows that not every currency has cents.

use orders_common::{Currency, Rules, price_order};
use wharf_sdk::prelude::*;

const RULES: Rules = Rules {
    version: "2",
    minor_units,
};

/// One order in; its event and its audit record out.
#[wharf_sdk::handler]
pub fn handle(message: Message) -> Result<Vec<Outgoing>> {
    price_order(&message, &RULES)
}

/// A price in the smallest unit of its currency: cents, or whole yen.
fn minor_units(price: &str, currency: &Currency) -> Option<u64> {
    if currency.decimals == 0 {
        return price.parse().ok();
    }
    let (whole, fraction) = price.split_once('.')?;
    if fraction.len() != currency.decimals as usize {
        return None;
    }
    let (whole, fraction): (u64, u64) = (whole.parse().ok()?, fraction.parse().ok()?);
    whole
        .checked_mul(10u64.pow(currency.decimals))?
        .checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orders_common::examples::{amount, order};

    #[test]
    fn prices_with_and_without_decimals() {
        let outputs = handle(order("EUR", "12.50").build()).unwrap();
        assert_eq!(amount(&outputs[0], "subtotal"), "25.00");
        let outputs = handle(order("JPY", "1200").build()).unwrap();
        assert_eq!(amount(&outputs[0], "subtotal"), "2400");
    }

    #[test]
    fn refuses_decimals_that_the_currency_does_not_have() {
        for (currency, price) in [
            ("JPY", "1200.00"),
            ("EUR", "12"),
            ("EUR", "12.5"),
            ("EUR", "-1.00"),
        ] {
            let error = handle(order(currency, price).build()).unwrap_err();
            assert_eq!(error.code(), Some("bad-price"), "{price} {currency}");
        }
    }
}
