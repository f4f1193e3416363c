//! The order as shops send it, and what makes one impossible.

use wharf_sdk::prelude::*;

/// An order as shops send it. Fields that nobody reads here may be there too.
#[derive(Deserialize)]
pub struct Order {
    pub order_id: String,
    pub customer: Customer,
    /// By its ISO 4217 code.
    pub currency: String,
    pub items: Vec<Item>,
    pub discount: Option<Discount>,
    /// The country by its ISO 3166 code: it decides the tax.
    pub ship_to: String,
    pub payment_ref: String,
}

#[derive(Deserialize)]
pub struct Customer {
    pub id: String,
}

#[derive(Deserialize)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
    /// As text, for JSON numbers do not keep cents: `"12.50"`.
    pub unit_price: String,
}

#[derive(Deserialize)]
pub struct Discount {
    pub percent: u64,
}

/// A currency that we take.
pub struct Currency {
    pub code: &'static str,
    pub decimals: u32,
}

const CURRENCIES: [Currency; 6] = [
    Currency {
        code: "EUR",
        decimals: 2,
    },
    Currency {
        code: "USD",
        decimals: 2,
    },
    Currency {
        code: "GBP",
        decimals: 2,
    },
    Currency {
        code: "CHF",
        decimals: 2,
    },
    Currency {
        code: "JPY",
        decimals: 0,
    },
    Currency {
        code: "KRW",
        decimals: 0,
    },
];

/// Tax in hundredths of a percent.
const TAXES: [(&str, u64); 8] = [
    ("AT", 2_000),
    ("CH", 810),
    ("DE", 1_900),
    ("FR", 2_000),
    ("GB", 2_000),
    ("JP", 1_000),
    ("KR", 1_000),
    ("US", 0),
];

/// More than this is a typing error of somebody.
const HIGHEST_DISCOUNT: u64 = 80;
const HIGHEST_QUANTITY: u32 = 1_000;

impl Order {
    /// The order in a message. What cannot be one is rejected, with a code that says which rule it broke.
    pub fn read(message: &Message) -> Result<Self> {
        if message.payload.is_empty() {
            return reject("the message is empty").code("empty-message");
        }
        // In two steps, to tell what is no JSON from what is no order.
        let document: serde_json::Value = message.json()?;
        let order: Self = serde_json::from_value(document)
            .or_reject("not an order")
            .code("invalid-order")?;
        order.check()?;
        Ok(order)
    }

    fn check(&self) -> Result {
        if self.items.is_empty() {
            return reject(format!("order {} has no items", self.order_id)).code("no-items");
        }
        let wrong = |item: &&Item| item.quantity == 0 || item.quantity > HIGHEST_QUANTITY;
        if let Some(item) = self.items.iter().find(wrong) {
            let reason = format!(
                "{} of item {} in order {}",
                item.quantity, item.sku, self.order_id
            );
            return reject(reason).code("bad-quantity");
        }
        if self.percent_off() > HIGHEST_DISCOUNT {
            let reason = format!(
                "a discount of {} % in order {}",
                self.percent_off(),
                self.order_id
            );
            return reject(reason).code("bad-discount");
        }
        Ok(())
    }

    /// 0 where there is no discount.
    pub fn percent_off(&self) -> u64 {
        self.discount
            .as_ref()
            .map_or(0, |discount| discount.percent)
    }

    pub fn currency(&self) -> Result<&'static Currency> {
        let known = CURRENCIES
            .iter()
            .find(|currency| currency.code == self.currency);
        known
            .or_reject(format!("currency {}", self.currency))
            .code("unknown-currency")
    }

    /// In hundredths of a percent.
    pub fn tax(&self) -> Result<u64> {
        let known = TAXES.iter().find(|(country, _)| *country == self.ship_to);
        let (_, tax) = known
            .or_reject(format!("no tax is known for {}", self.ship_to))
            .code("unknown-country")?;
        Ok(*tax)
    }
}
