//! `wharf dlq`, on letters as the host writes them.

use super::support::World;

/// Three letters of `orders/incoming`, one of them sent back before, and one of another client.
fn letters() -> World {
    let world = World::new();
    let lines = r#"{"id":"1","key":"c-1","payload":{"order":1},"headers":{"source":"web","wharf-cause":"rejected","wharf-code":"no-items","__dlq.errors.message":"an empty basket","wharf-attempts":"1","wharf-plugin":"orders","wharf-subscription":"incoming","wharf-first-failed-at":"2026-01-01T00:00:00.000Z","wharf-failed-at":"2026-01-01T00:00:00.000Z","__dlq.errors.topic":"orders","__dlq.errors.offset":"17","__dlq.errors.delivery.count":"1"}}
{"id":"2","payload_text":"{\"cut\": ","headers":{"wharf-cause":"trap","__dlq.errors.message":"boom","wharf-attempts":"4","wharf-stderr":"thinking\npanicked at src/lib.rs:7","wharf-backtrace":"0: handler::price\n1: handler::handle","wharf-redrives":"1","wharf-redrive-id":"old"}}
{"id":"3","payload_text":"","headers":{"wharf-cause":"rejected","wharf-code":"empty","__dlq.errors.message":"no payload"}}
{"id":"4","payload_text":"not by the host"}
"#;
    world.write("letters.jsonl", lines);
    world
        .run(&[
            "publish",
            "events",
            "dlq.incoming.orders",
            "--file",
            "letters.jsonl",
        ])
        .ok();
    world
}

fn ids(world: &World, topic: &str) -> Vec<String> {
    let printed = world
        .run(&["tail", "events", topic, "--from-start", "--json"])
        .ok();
    let id = |line: serde_json::Value| line["id"].as_str().unwrap().to_owned();
    printed.json().into_iter().map(id).collect()
}

#[test]
fn listed_by_cause() {
    let world = letters();
    world.run(&["dlq", "list"]).ok().matches("dlq-list");
    world
        .run(&["dlq", "list", "--json"])
        .ok()
        .matches("dlq-list-json");
}

#[test]
fn shown_with_everything_known() {
    let world = letters();
    world
        .run(&["dlq", "show", "orders/incoming"])
        .ok()
        .matches("dlq-show");
    world
        .run(&[
            "dlq",
            "show",
            "orders/incoming",
            "--json",
            "--cause",
            "rejected",
        ])
        .ok()
        .matches("dlq-show-json");
    let one = world
        .run(&["dlq", "show", "orders/incoming", "--id", "2", "--json"])
        .ok();
    assert_eq!(one.json().len(), 1);
    assert_eq!(one.json()[0]["backtrace"][1], "1: handler::handle");
    let first = world
        .run(&["dlq", "show", "orders/incoming", "--limit", "1"])
        .ok();
    assert!(first.err.contains("the first 1 are shown"), "{first:#?}");
}

#[test]
fn redriven_by_cause_and_without_their_diagnosis() {
    let world = letters();
    let dry = world
        .run(&[
            "dlq",
            "redrive",
            "orders/incoming",
            "--cause",
            "trap",
            "--dry-run",
        ])
        .ok();
    dry.matches("dlq-redrive-dry");
    assert_eq!(ids(&world, "dlq.incoming.orders"), ["1", "2", "3", "4"]);
    assert_eq!(ids(&world, "retry.incoming.orders"), [""; 0]);

    world
        .run(&["dlq", "redrive", "orders/incoming", "--cause", "trap"])
        .ok()
        .matches("dlq-redrive");
    assert_eq!(ids(&world, "dlq.incoming.orders"), ["1", "3", "4"]);
    let back = world
        .run(&["tail", "events", "retry.incoming.orders", "--json"])
        .ok()
        .json();
    assert_eq!(
        back[0]["headers"],
        serde_json::json!({"wharf-redrives": "2", "wharf-redrive-id": "events/dlq.incoming.orders/2"})
    );
    assert_eq!(back[0]["payload_text"], "{\"cut\": ");

    let all = world
        .run(&["dlq", "redrive", "orders/incoming", "--all", "--json"])
        .ok();
    assert_eq!(all.json()[0]["redriven"], 3);
    assert_eq!(ids(&world, "dlq.incoming.orders"), [""; 0]);
    assert_eq!(ids(&world, "retry.incoming.orders"), ["2", "1", "3", "4"]);
    let kept = world
        .run(&["tail", "events", "retry.incoming.orders", "--json"])
        .ok()
        .json();
    assert_eq!(
        kept[1]["headers"]["wharf-first-failed-at"],
        "2026-01-01T00:00:00.000Z"
    );
    assert_eq!(kept[1]["headers"]["source"], "web");
}

#[test]
fn a_limit_takes_the_oldest() {
    let world = letters();
    world
        .run(&[
            "dlq",
            "redrive",
            "orders/incoming",
            "--cause",
            "rejected",
            "--limit",
            "1",
        ])
        .ok();
    assert_eq!(ids(&world, "dlq.incoming.orders"), ["2", "3", "4"]);
}

#[test]
fn thousands_are_redriven_once_each() {
    let world = World::new();
    world
        .run(&[
            "publish",
            "events",
            "dlq.late.orders",
            "--payload",
            "x",
            "--repeat",
            "1000",
        ])
        .ok();
    let before = ids(&world, "dlq.late.orders");
    let printed = world
        .run(&["dlq", "redrive", "orders/late", "--all", "--json"])
        .ok();
    assert_eq!(printed.json()[0]["redriven"], 1000);
    assert_eq!(ids(&world, "retry.late.orders"), before);
}

#[test]
fn to_another_broker_confirmed_before_deleted() {
    let world = World::new();
    world.write(
        "wharf.yaml",
        super::support::CONFIG
            .replace(
                "brokers:\n",
                "brokers:\n  graveyard: { type: embedded, path: graveyard.db }\n",
            )
            .replace(
                "    retry:",
                "    dead_letter: { broker: graveyard, topic: all }\n    retry:",
            ),
    );
    world.write(
        "letters.jsonl",
        "{\"id\":\"i\",\"headers\":{\"wharf-plugin\":\"orders\",\"wharf-subscription\":\"incoming\"}}\n\
         {\"id\":\"l\",\"headers\":{\"wharf-plugin\":\"orders\",\"wharf-subscription\":\"late\"}}\n",
    );
    world
        .run(&["publish", "graveyard", "all", "--file", "letters.jsonl"])
        .ok();
    // One place for both subscriptions: each has its own letters all the same.
    let listed = world.run(&["dlq", "list", "--json"]).ok().json();
    assert_eq!(
        (&listed[0]["letters"], &listed[1]["letters"]),
        (&1.into(), &1.into())
    );
    world.run(&["dlq", "redrive", "orders/late", "--all"]).ok();
    assert_eq!(ids(&world, "retry.late.orders"), ["l"]);
    let left = world
        .run(&["tail", "graveyard", "all", "--json"])
        .ok()
        .json();
    assert_eq!((left.len(), &left[0]["id"]), (1, &"i".into()));
}

#[test]
fn purged_only_when_meant() {
    let world = letters();
    let asked = world.run(&["dlq", "purge", "orders/incoming", "--cause", "rejected"]);
    assert_eq!(asked.code, 64);
    asked.matches("dlq-purge-asked");
    assert_eq!(ids(&world, "dlq.incoming.orders").len(), 4);
    world
        .run(&[
            "dlq",
            "purge",
            "orders/incoming",
            "--cause",
            "rejected",
            "--yes",
        ])
        .ok()
        .matches("dlq-purge");
    assert_eq!(ids(&world, "dlq.incoming.orders"), ["2", "4"]);
}
