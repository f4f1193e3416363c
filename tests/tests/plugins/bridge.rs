//! `plugins/bridge`.

use serde_json::{Value, json};
use wharf_tests::host::eventually;
use wharf_tests::redis_server::RedisServer;

use crate::shipped::{PATIENCE, Shipped, outputs, sorted};

const REDIS: &str = "${REDIS_URL:-redis://127.0.0.1:6379}";

#[tokio::test]
async fn messages_cross_from_one_broker_to_another() {
    let server = RedisServer::start().await;
    let plugin = Shipped::changed("bridge", |config| {
        assert!(config.contains(REDIS));
        config.replace(REDIS, &server.url())
    });
    plugin.handle_all().await;

    let topic = |out: &Value| out.get("topic").and_then(Value::as_str) == Some("orders.eu");
    let mut expected = outputs(&plugin.messages());
    let elsewhere: Vec<Value> = expected.extract_if(.., |out| topic(out)).collect();
    assert_eq!((expected.len(), elsewhere.len()), (4, 1));
    let crossed = plugin.lying("events", "orders");
    assert_eq!(sorted(crossed), sorted(expected));
    let crossed = plugin.lying("events", "orders.eu");
    assert_eq!(crossed.len(), 1);
    assert_eq!(crossed[0]["id"], elsewhere[0]["id"]);
    assert_eq!(crossed[0]["headers"], elsewhere[0]["headers"]);

    let dead = plugin.dead();
    let mut causes: Vec<_> = dead
        .iter()
        .map(|letter| json!([letter["message"]["id"], letter["cause"], letter["code"]]))
        .collect();
    causes.sort_by_key(Value::to_string);
    let expected = [
        json!(["o-6", "denied", null]),
        json!(["o-7", "rejected", "bad-topic"]),
    ];
    assert_eq!(causes, expected);
}

#[tokio::test]
async fn a_bridge_without_rules_changes_nothing() {
    let config = r#"version: 1
brokers:
  local: { type: embedded, path: data/bridge.db, retention: 1h } # the originals are read at the end
plugins:
  bridge:
    component: bridge.wasm
    subscribe:
      orders: { broker: local, topic: orders }
    publish:
      out: { broker: local, topic: copies }
    grants: { config: { drop_headers: "" } }
"#;
    let plugin = Shipped::changed("bridge", |_| config.to_owned());
    plugin.handle_all().await;
    assert_eq!(plugin.dead(), [Value::Null; 0]);
    let copies = sorted(plugin.lying("local", "copies"));
    assert_eq!(copies.len(), plugin.messages().len());
    assert_eq!(copies, sorted(plugin.lying("local", "orders")));
    // What is compared has all there is to lose.
    for part in [
        "key",
        "headers",
        "content_type",
        "correlation_id",
        "reply_to",
        "priority",
    ] {
        assert!(copies[0].get(part).is_some(), "{part}: {}", copies[0]);
    }
    assert!(copies.iter().any(|copy| copy["tombstone"] == true));
}

#[tokio::test]
async fn a_time_to_live_goes_along() {
    let plugin = Shipped::changed("bridge", |config| {
        let lines = config.lines().filter(|line| !line.contains(REDIS));
        let local: String = lines.map(|line| format!("{line}\n")).collect();
        local.replace(
            "broker: events, stream: orders",
            "broker: local, topic: copies",
        )
    });
    plugin.run(&[
        "publish",
        "--to",
        "bridge/orders",
        "--payload",
        "1",
        "--ttl",
        "1h",
    ]);
    // Read now: it goes when it is settled.
    let original = plugin.run(&["tail", "local", "orders", "--from-start", "--json"]);
    let mut host = plugin.place.run().await;
    let tail = || plugin.run(&["tail", "local", "copies", "--from-start", "--json"]);
    let copy = eventually("a copy", PATIENCE, async || {
        tail().lines().next().map(str::to_owned)
    })
    .await;
    host.signal("TERM");
    assert!(host.exit(PATIENCE).await.success());
    // The copy's is counted from when it was written, by clocks that show whole milliseconds.
    let late = (millis(&copy) - millis(original.trim_end()) + ROUNDING).rem_euclid(DAY);
    assert!(late < 10_000, "{original}{copy}");
}

const DAY: i64 = 86_400_000;
/// What two clocks may lose.
const ROUNDING: i64 = 2;

/// When a line of `tail` expires, in milliseconds of its day.
fn millis(line: &str) -> i64 {
    let line: Value = serde_json::from_str(line).unwrap();
    let (_, time) = line["expires"].as_str().unwrap().split_once('T').unwrap();
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let part = |range: std::ops::Range<usize>| digits[range].parse::<i64>().unwrap();
    ((part(0..2) * 60 + part(2..4)) * 60 + part(4..6)) * 1_000 + part(6..9)
}
