//! `examples/order-by-key`.

use serde_json::Value;
use wharf_tests::plugins::until;

use crate::running::{Example, payload};

#[test]
fn a_key_waits_for_its_retry_and_others_do_not() {
    let example = Example::new("order-by-key", "example-order-by-key");
    let host = example.start();
    example.run(&[
        "publish",
        "--to",
        "accounts/entries",
        "--file",
        "messages.jsonl",
    ]);
    until("eight entries", || {
        (example.lying("local", "ledger").len() == 8).then_some(())
    });
    host.stop();
    let ledger: Vec<(String, u64)> = example
        .lying("local", "ledger")
        .iter()
        .map(|line| {
            let entry: Value = serde_json::from_str(&payload(line)).unwrap();
            (
                line["key"].as_str().unwrap().to_owned(),
                entry["step"].as_u64().unwrap(),
            )
        })
        .collect();
    let steps = |key: &str| -> Vec<u64> {
        let of = ledger.iter().filter(|(k, _)| k == key);
        of.map(|(_, step)| *step).collect()
    };
    assert_eq!(steps("ada"), [1, 2, 3, 4, 5]);
    assert_eq!(steps("grace"), [1, 2, 3]);
    let at = |key: &str, step: u64| ledger.iter().position(|e| *e == (key.to_owned(), step));
    assert!(
        at("grace", 3) < at("ada", 2),
        "Grace waited for Ada: {ledger:?}"
    );

    // The file says the same: by key, and the one before the other.
    let file = example.file("expected.txt");
    let expected = |key: &str| -> Vec<u64> {
        let of = file.lines().filter_map(|line| line.split_once(' '));
        of.filter(|(k, _)| *k == key)
            .map(|(_, step)| step.parse().unwrap())
            .collect()
    };
    for key in ["ada", "grace"] {
        assert_eq!(steps(key), expected(key));
    }
    assert!(file.find("grace 3") < file.find("ada 2"));
}
