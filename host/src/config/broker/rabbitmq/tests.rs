use serde_json::json;

use super::*;

const URL: &str = "amqp://guest:hunter2@localhost:5672/%2f";

fn read(json: serde_json::Value) -> Result<RabbitMq, String> {
    serde_json::from_value(json).map_err(|e| e.to_string())
}

fn faults(json: serde_json::Value) -> Vec<String> {
    let faults = read(json).unwrap().faults();
    let told = faults
        .iter()
        .map(|f| format!("{}: {}", f.path.join("."), f.message));
    told.collect()
}

#[test]
fn a_url_is_enough() {
    let written = json!({ "url": URL });
    let read_from = read(written).unwrap();
    assert_eq!(read_from, RabbitMq::new(URL));
    assert_eq!(read_from.faults(), []);
    assert!(!format!("{read_from:?}").contains("hunter2"));
    assert!(read(json!({})).unwrap_err().contains("url"));
    assert!(read(json!({ "url": URL, "prefetch": 1 })).is_err());
}

#[test]
fn everything_is_read() {
    let broker = read(json!({
        "url": URL,
        "heartbeat": "30s",
        "connect_timeout": "1s",
        "queue_kind": "classic",
        "name": "wharf-0",
        "declare": {
            "exchanges": {
                "orders": { "kind": "topic", "alternate": "lost" },
                "lost": { "kind": "fanout" },
                "by-header": { "kind": "headers" },
                "plain": {},
            },
            "queues": {
                "orders": {
                    "bindings": [
                        { "exchange": "orders", "routing_key": "orders.#" },
                        { "exchange": "by-header", "headers": { "a": 1, "b": "x" }, "match": "any" },
                    ],
                    "single_active_consumer": true,
                    "message_ttl": "1h",
                    "dead_letter": { "exchange": "lost" },
                    "delivery_limit": 1000,
                    "max_length": 10,
                    "max_bytes": "1MiB",
                    "arguments": { "x-quorum-initial-group-size": 3, "x-x": true },
                },
                "urgent": { "kind": "classic", "max_priority": 10 },
            },
        },
    }))
    .unwrap();
    assert_eq!(broker.faults(), []);
    assert_eq!(broker.heartbeat, Duration::from_secs(30));
    assert_eq!(broker.queue_kind.as_str(), "classic");
    let orders = &broker.declare.queues["orders"];
    assert_eq!(
        (orders.kind.as_str(), orders.single_active_consumer),
        ("quorum", true)
    );
    assert_eq!(orders.message_ttl, Some(Duration::from_secs(3600)));
    assert_eq!(orders.bindings[1].headers["a"], Argument::Number(1));
    assert_eq!(orders.bindings[1].matching.as_str(), "any");
    assert_eq!(orders.arguments["x-x"], Argument::Flag(true));
    assert_eq!(broker.declare.queues["urgent"].max_priority, Some(10));
    let kinds = broker.declare.exchanges.values().map(|e| e.kind.as_str());
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        ["headers", "fanout", "topic", "direct"]
    );
}

#[test]
fn urls_that_lead_elsewhere_are_told_and_not_shown() {
    let of = |url: &str| faults(json!({ "url": url }));
    for url in [
        "hunter2",
        "http://guest:hunter2@h/",
        "amqp://guest:hunter2@h:x/",
    ] {
        let said = of(url);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("url: this is not the URL"), "{said:?}");
        assert!(!said[0].contains("hunter2"));
    }
    assert!(of("amqp://h:5672/")[0].contains("virtual host is empty"));
    for url in [
        "amqp://h",
        "amqp://h:5672",
        "amqp://h/%2f",
        "amqps://h/v?auth_mechanism=external",
    ] {
        assert_eq!(of(url), Vec::<String>::new(), "{url}");
    }
    for query in ["heartbeat=5", "connection_timeout=5", "frame_max=4096"] {
        let said = of(&format!("amqp://h/v?auth_mechanism=plain&{query}"));
        assert_eq!(said, ["url: the URL sets what is set elsewhere"]);
    }
}

#[test]
fn times_are_what_the_server_can_do() {
    for heartbeat in ["0s", "1500ms", "20h"] {
        let said = faults(json!({ "url": URL, "heartbeat": heartbeat }));
        assert_eq!(said, ["heartbeat: the server counts whole seconds"]);
    }
    let said = faults(json!({ "url": URL, "connect_timeout": "0s" }));
    assert_eq!(
        said,
        ["connect_timeout: a connection cannot be made in no time"]
    );
    for ttl in ["0s", "50d"] {
        let queue = json!({ "message_ttl": ttl });
        let said = faults(json!({ "url": URL, "declare": { "queues": { "q": queue } } }));
        assert_eq!(
            said,
            ["declare.queues.q.message_ttl: the server takes no such time"]
        );
    }
}

#[test]
fn certificates_need_tls_and_each_other() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let said = faults(json!({ "url": URL, "tls": { "ca": path } }));
    assert_eq!(said, ["tls.ca: `ca` is of no use without TLS"]);
    let tls = json!({ "ca": path, "certificate": path });
    let said = faults(json!({ "url": "amqps://h", "tls": tls }));
    assert_eq!(
        said,
        ["tls: `certificate` and `key` are of use only together"]
    );
    let said = faults(json!({ "url": "amqps://h", "tls": { "ca": "nowhere.pem" } }));
    assert_eq!(
        said,
        ["tls.ca: `nowhere.pem` cannot be read: entity not found"]
    );
}

#[test]
fn queues_are_told_what_their_kind_cannot_do() {
    let of = |queue| faults(json!({ "url": URL, "declare": { "queues": { "q": queue } } }));
    let said = of(json!({ "max_priority": 5 }));
    assert_eq!(
        said,
        ["declare.queues.q.max_priority: a quorum queue takes no priorities"]
    );
    let said = of(json!({ "kind": "classic", "delivery_limit": 5 }));
    assert!(said[0].contains("does not count deliveries"), "{said:?}");
    let arguments =
        json!({ "x-queue-type": "stream", "x-expires": 1000, "x-overflow": "drop-head" });
    let said = of(json!({ "arguments": arguments }));
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn names_of_the_servers_own_are_refused() {
    let long = "x".repeat(256);
    let declare = json!({
        "exchanges": { "amq.topic": {}, "": {} },
        "queues": { "amq.gen-1": {}, (long): {} },
    });
    assert_eq!(faults(json!({ "url": URL, "declare": declare })).len(), 4);
}

#[test]
fn a_binding_has_what_its_exchange_looks_at() {
    let of = |kind: &str, binding: serde_json::Value| {
        let mut binding = binding;
        binding["exchange"] = json!("e");
        faults(json!({ "url": URL, "declare": {
            "exchanges": { "e": { "kind": kind } },
            "queues": { "q": { "bindings": [binding] } },
        } }))
    };
    let key = json!({ "routing_key": "k" });
    let headers = json!({ "headers": { "a": "b" } });
    for (kind, binding, wrong) in [
        ("direct", key.clone(), 0),
        ("direct", json!({}), 1),
        ("direct", headers.clone(), 2),
        ("topic", key.clone(), 0),
        ("topic", json!({}), 1),
        ("fanout", json!({}), 0),
        ("fanout", key.clone(), 1),
        ("headers", headers, 0),
        ("headers", key, 2),
    ] {
        let said = of(kind, binding.clone());
        assert_eq!(said.len(), wrong, "{kind} {binding}: {said:?}");
        let there = "declare.queues.q.bindings.0: ";
        assert!(said.iter().all(|s| s.starts_with(there)), "{said:?}");
    }
    let other = json!({ "url": URL, "declare": { "queues": { "q": {
        "bindings": [{ "exchange": "made elsewhere" }],
    } } } });
    assert_eq!(faults(other), Vec::<String>::new());
    let default = json!({ "url": URL, "declare": { "queues": { "q": {
        "bindings": [{ "exchange": "", "routing_key": "k" }],
    } } } });
    assert_eq!(faults(default).len(), 1);
}
