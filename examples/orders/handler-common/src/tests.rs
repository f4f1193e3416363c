use serde_json::{Value, json};
use wharf_sdk::{Error, Kind};

use super::*;
use crate::examples::{amount, document, order};

const RULES: Rules = Rules {
    version: "test",
    minor_units: cents,
};

fn cents(price: &str, _: &Currency) -> Option<u64> {
    price.replace('.', "").parse().ok()
}

fn spoilt(spoil: impl FnOnce(&mut Value)) -> Error {
    let mut order = document("EUR", "12.50");
    spoil(&mut order);
    price_order(&Message::builder_json(&order).build(), &RULES).unwrap_err()
}

#[test]
fn an_order_becomes_an_event_and_an_audit_record_under_its_key() {
    let outputs = price_order(&order("EUR", "12.50").build(), &RULES).unwrap();
    let [event, audit] = outputs.as_slice() else {
        panic!("{outputs:?}")
    };
    assert_eq!(
        (event.destination.as_str(), audit.destination.as_str()),
        ("priced", "audit")
    );
    assert_eq!(event.key.as_deref(), Some(&b"c-7"[..]));
    assert_eq!(audit.key.as_deref(), Some(&b"c-7"[..]));
    let amounts = ["subtotal", "discount", "tax", "total"].map(|field| amount(event, field));
    assert_eq!(amounts, ["25.00", "0.00", "4.75", "29.75"]);
    assert_eq!(amount(audit, "total"), "29.75");
    assert_eq!(amount(audit, "handler"), "test");
}

#[test]
fn a_discount_comes_off_before_tax_and_halves_round_up() {
    let mut order = document("EUR", "0.05");
    order["discount"] = json!({ "percent": 5 });
    let outputs = price_order(&Message::builder_json(&order).build(), &RULES).unwrap();
    let amounts = ["subtotal", "discount", "tax", "total"].map(|field| amount(&outputs[0], field));
    assert_eq!(amounts, ["0.10", "0.01", "0.02", "0.11"]);
}

#[test]
fn every_broken_order_is_rejected_with_its_own_code() {
    type Spoil = fn(&mut Value);
    let cases: [(Spoil, &str); 9] = [
        (|order| order["items"] = json!([]), "no-items"),
        (
            |order| order["items"][0]["quantity"] = json!(0),
            "bad-quantity",
        ),
        (
            |order| order["items"][0]["quantity"] = json!(1_001),
            "bad-quantity",
        ),
        (
            |order| order["items"][0]["quantity"] = json!(-1),
            "invalid-order",
        ),
        (
            |order| order["items"][0]["unit_price"] = json!("free"),
            "bad-price",
        ),
        (
            |order| order["discount"] = json!({ "percent": 81 }),
            "bad-discount",
        ),
        (|order| order["currency"] = json!("XXX"), "unknown-currency"),
        (|order| order["ship_to"] = json!("XX"), "unknown-country"),
        (
            |order| *order = json!({ "order_id": "o-1" }),
            "invalid-order",
        ),
    ];
    for (spoil, code) in cases {
        let error = spoilt(spoil);
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Reject, Some(code)),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_json_or_empty_is_told_apart() {
    let code = |payload: &[u8]| {
        let error = price_order(&Message::builder(payload).build(), &RULES).unwrap_err();
        assert_eq!(error.kind(), Kind::Reject);
        error.code().map(str::to_owned)
    };
    assert_eq!(code(b"").as_deref(), Some("empty-message"));
    assert_eq!(code(b"{\"order_id\":").as_deref(), Some("invalid-json"));
    assert_eq!(code(b"\xff\xfe").as_deref(), Some("invalid-json"));
}

#[test]
fn amounts_that_do_not_fit_are_rejected() {
    for price in [u64::MAX, u64::MAX / 2] {
        let error = spoilt(|order| order["items"][0]["unit_price"] = json!(price.to_string()));
        assert_eq!(error.code(), Some("overflow"), "{price}");
    }
}

#[test]
fn a_slow_payment_is_retried_until_it_answers() {
    let mut order = document("EUR", "12.50");
    order["payment_ref"] = json!("pay-1-t2");
    let run = |attempt| {
        price_order(
            &Message::builder_json(&order).attempt(attempt).build(),
            &RULES,
        )
    };
    for attempt in [1, 2] {
        let error = run(attempt).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Retry, Some("payment-timeout"))
        );
    }
    assert_eq!(run(3).unwrap().len(), 2);
}
