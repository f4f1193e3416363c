//! What an order costs, in the smallest units of its currency.

use wharf_sdk::prelude::*;

use crate::Rules;
use crate::order::{Currency, Item, Order};

/// `total = subtotal - discount + tax`.
pub struct Quote {
    pub subtotal: u64,
    pub discount: u64,
    pub tax: u64,
    pub total: u64,
    decimals: u32,
}

impl Quote {
    pub fn of(order: &Order, rules: &Rules) -> Result<Self> {
        let currency = order.currency()?;
        let tax_rate = order.tax()?;
        let mut subtotal = 0u64;
        for item in &order.items {
            let line = line(item, currency, rules)?;
            subtotal = subtotal
                .checked_add(line)
                .or_reject("the order is worth too much")
                .code("overflow")?;
        }
        let discount = share(subtotal, order.percent_off(), 100);
        let tax = share(subtotal - discount, tax_rate, 10_000);
        let total = (subtotal - discount).checked_add(tax);
        let total = total
            .or_reject("the order is worth too much")
            .code("overflow")?;
        Ok(Self {
            subtotal,
            discount,
            tax,
            total,
            decimals: currency.decimals,
        })
    }

    /// An amount as people write it: `12.50`, or `1200` where there are no decimals.
    pub fn text(&self, amount: u64) -> String {
        if self.decimals == 0 {
            return amount.to_string();
        }
        let unit = 10u64.pow(self.decimals);
        format!(
            "{}.{:0width$}",
            amount / unit,
            amount % unit,
            width = self.decimals as usize
        )
    }
}

fn line(item: &Item, currency: &Currency, rules: &Rules) -> Result<u64> {
    let price = (rules.minor_units)(&item.unit_price, currency);
    let reason = || {
        format!(
            "item {} costs {} {}",
            item.sku, item.unit_price, currency.code
        )
    };
    let price = price.or_reject(reason()).code("bad-price")?;
    price
        .checked_mul(item.quantity.into())
        .or_reject(reason())
        .code("overflow")
}

/// `amount * rate / of`, rounded half up. In 128 bits, for what fits into 64 may not fit when multiplied.
fn share(amount: u64, rate: u64, of: u64) -> u64 {
    let exact = (u128::from(amount) * u128::from(rate) + u128::from(of) / 2) / u128::from(of);
    u64::try_from(exact).unwrap_or(u64::MAX)
}
