use serde_json::json;

use super::*;

fn declare() -> Declare {
    serde_json::from_value(json!({
        "exchanges": {
            "orders": { "kind": "topic", "alternate": "lost" },
            "lost": { "kind": "fanout" },
            "by-header": { "kind": "headers", "arguments": { "x-n": 3 } },
        },
        "queues": {
            "in": {
                "bindings": [
                    { "exchange": "orders", "routing_key": "orders.#" },
                    { "exchange": "elsewhere", "routing_key": "k" },
                ],
                "single_active_consumer": true,
                "message_ttl": "1h",
                "dead_letter": { "exchange": "", "routing_key": "dead" },
                "delivery_limit": 1000,
                "max_length": 10,
                "max_bytes": "1MiB",
                "arguments": { "x-quorum-initial-group-size": 3, "x-flag": true, "x-text": "t" },
            },
            "urgent": {
                "kind": "classic",
                "max_priority": 10,
                "bindings": [{ "exchange": "by-header", "headers": { "a": 1 }, "match": "any" }],
            },
        },
    }))
    .unwrap()
}

fn names(pieces: &[Piece]) -> Vec<String> {
    pieces.iter().map(Piece::what).collect()
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[test]
fn exchanges_come_before_queues_and_queues_before_bindings() {
    let all = [
        "exchange `by-header`",
        "exchange `lost`",
        "exchange `orders`",
        "queue `in`",
        "queue `urgent`",
        "the binding of queue `in` to exchange `orders`",
        "the binding of queue `in` to exchange `elsewhere`",
        "the binding of queue `urgent` to exchange `by-header`",
    ];
    assert_eq!(names(&super::all(&declare())), all);
}

#[test]
fn a_queue_needs_itself_and_what_it_is_bound_to() {
    let needs = [
        "exchange `orders`",
        "queue `in`",
        "the binding of queue `in` to exchange `orders`",
        "the binding of queue `in` to exchange `elsewhere`",
    ];
    assert_eq!(names(&for_queue(&declare(), "in")), needs);
    assert_eq!(for_queue(&declare(), "made elsewhere"), []);
}

#[test]
fn keys_become_the_servers_arguments() {
    let number = AMQPValue::LongLongInt;
    let pieces = super::all(&declare());
    let queue = |wanted: &str| {
        let found = pieces.iter().find_map(|piece| match piece {
            Piece::Queue(queue) if queue.name.as_str() == wanted => Some(&queue.arguments),
            _ => None,
        });
        found.unwrap().clone()
    };
    let expected = [
        ("x-queue-type", text("quorum")),
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-message-ttl", number(3_600_000)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
        ("x-delivery-limit", number(1000)),
        ("x-max-length", number(10)),
        ("x-max-length-bytes", number(1 << 20)),
        ("x-quorum-initial-group-size", number(3)),
        ("x-flag", AMQPValue::Boolean(true)),
        ("x-text", text("t")),
    ];
    assert_eq!(queue("in"), table(&expected));
    let expected = [
        ("x-queue-type", text("classic")),
        ("x-max-priority", number(10)),
    ];
    assert_eq!(queue("urgent"), table(&expected));
    let of_exchange = |wanted: &str| {
        let found = pieces.iter().find_map(|piece| match piece {
            Piece::Exchange {
                name, arguments, ..
            } if name.as_str() == wanted => Some(arguments),
            _ => None,
        });
        found.unwrap().clone()
    };
    assert_eq!(
        of_exchange("orders"),
        table(&[("alternate-exchange", text("lost"))])
    );
    assert_eq!(of_exchange("by-header"), table(&[("x-n", number(3))]));
    let Some(Piece::Binding {
        arguments,
        routing_key,
        ..
    }) = pieces.last()
    else {
        panic!("no binding");
    };
    let expected = [("a", number(1)), ("x-match", text("any"))];
    assert_eq!((arguments, routing_key.as_str()), (&table(&expected), ""));
}
