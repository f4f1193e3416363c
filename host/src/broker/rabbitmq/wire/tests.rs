use lapin::types::{ByteArray, DecimalValue};

use super::*;
use crate::message::Outgoing;
use crate::ports::PublishError;

mod roundtrip;

const NOW: u64 = 1_786_000_000_123;

fn reading(own: bool) -> Reading {
    Reading {
        broker: "bus".into(),
        subscription: "orders".into(),
        queue: if own {
            "retry.orders.billing"
        } else {
            "orders"
        }
        .into(),
        source: "orders".into(),
        group: "billing".into(),
        own,
        prefix: "retry.orders.billing".into(),
    }
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn array(values: &[AMQPValue]) -> AMQPValue {
    AMQPValue::FieldArray(values.to_vec().into())
}

fn received(properties: BasicProperties) -> Received {
    Received {
        tag: 7,
        exchange: "shop".into(),
        routing_key: "orders.new".into(),
        redelivered: false,
        properties,
        payload: "{}".into(),
    }
}

fn with(fields: &[(&str, AMQPValue)]) -> Received {
    received(BasicProperties::default().with_headers(table(fields)))
}

fn message(fields: &[(&str, AMQPValue)]) -> Message {
    read(&with(fields), &reading(false), 1, || "minted".into())
}

fn pairs(m: &Message) -> Vec<(&str, &str)> {
    let text = |h: &'_ Header| std::str::from_utf8(&h.value).unwrap().to_owned().leak() as &str;
    m.headers.iter().map(|h| (&*h.name, text(h))).collect()
}

#[test]
fn a_plain_message_is_payload_and_properties() {
    let properties = BasicProperties::default()
        .with_message_id("o-7".into())
        .with_content_type("application/json".into())
        .with_correlation_id("c".into())
        .with_reply_to("answers".into())
        .with_priority(9)
        .with_timestamp(1_786_000_000)
        .with_expiration("5".into());
    let m = read(&received(properties), &reading(false), 3, || unreachable!());
    assert_eq!((&*m.id, m.id_stable), ("o-7", true));
    assert_eq!(&m.payload[..], b"{}");
    assert_eq!((&*m.topic, &*m.origin.source), ("orders.new", "orders"));
    assert_eq!(m.content_type.as_deref(), Some("application/json"));
    assert_eq!(m.correlation_id.as_deref(), Some("c"));
    assert_eq!(m.reply_to.as_deref(), Some("answers"));
    assert_eq!((m.priority, m.deliveries), (Some(9), 3));
    assert_eq!(m.timestamp_ms, 1_786_000_000_000);
    // It is counted from when the message entered the queue, which nobody says.
    assert_eq!(m.expires_at_ms, None);
    assert_eq!(m.headers, []);
}

#[test]
fn without_an_id_one_is_minted_and_said_to_be() {
    let m = message(&[]);
    assert_eq!((&*m.id, m.id_stable), ("minted", false));
    let long = "x".repeat(300);
    assert_eq!(*message(&[(ID, string(&long))]).id, long);
}

#[test]
fn values_of_every_type_are_headers() {
    let m = message(&[
        ("a", string("text")),
        ("b", AMQPValue::Boolean(true)),
        ("c", AMQPValue::LongInt(-5)),
        ("d", AMQPValue::ShortShortUInt(200)),
        ("e", AMQPValue::Double(0.5)),
        (
            "f",
            AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 5 }),
        ),
        ("g", AMQPValue::Timestamp(1_786_000_000)),
        ("h", AMQPValue::Void),
        ("i", AMQPValue::ByteArray(ByteArray::from(&b"bytes"[..]))),
        ("j", array(&[string("1"), string("2")])),
        (
            "k",
            array(&[string("1"), AMQPValue::LongInt(2), AMQPValue::Void]),
        ),
        (
            "l",
            AMQPValue::FieldTable(table(&[
                ("raw", AMQPValue::LongString(vec![0xff, 0].into())),
                (
                    "n",
                    AMQPValue::DecimalValue(DecimalValue {
                        scale: 1,
                        value: 15,
                    }),
                ),
            ])),
        ),
        ("m", array(&[])),
    ]);
    assert_eq!(
        pairs(&m),
        [
            ("a", "text"),
            ("b", "true"),
            ("c", "-5"),
            ("d", "200"),
            ("e", "0.5"),
            ("f", "0.05"),
            ("g", "1786000000"),
            ("h", ""),
            ("i", "bytes"),
            ("j", "1"),
            ("j", "2"),
            ("k", r#"["1",2,null]"#),
            ("l", r#"{"n":1.5,"raw":{"$base64":"/wA="}}"#),
            ("m", "[]"),
        ]
    );
}

#[test]
fn properties_without_a_field_are_headers_and_back() {
    let properties = BasicProperties::default()
        .with_content_encoding("gzip".into())
        .with_type("order".into())
        .with_app_id("shop".into())
        .with_user_id("guest".into());
    let m = read(&received(properties), &reading(false), 1, || "id".into());
    let expected = [
        ("content-encoding", "gzip"),
        ("amqp-type", "order"),
        ("amqp-app-id", "shop"),
        ("amqp-user-id", "guest"),
    ];
    assert_eq!(pairs(&m), expected);
    let out = Outgoing {
        headers: m.headers,
        ..Outgoing::default()
    };
    let written = write(&out, "q", NOW).unwrap().properties;
    assert_eq!(
        written.content_encoding().as_ref().unwrap().as_str(),
        "gzip"
    );
    assert_eq!(written.kind().as_ref().unwrap().as_str(), "order");
    assert_eq!(written.app_id().as_ref().unwrap().as_str(), "shop");
    // The server would refuse another's name.
    assert_eq!(*written.user_id(), None);
    let table = written.headers().as_ref().unwrap();
    assert_eq!(table.inner().get("amqp-user-id"), Some(&string("guest")));
}

#[test]
fn metadata_that_makes_no_sense_is_a_header() {
    let m = message(&[
        (EXPIRES, string("soon")),
        (TOMBSTONE, AMQPValue::Boolean(false)),
        (DELIVERY_COUNT, string("5")),
        (ID, string("")),
        (RAW, array(&[string("x")])),
        (parked::PARKED, AMQPValue::FieldTable(table(&[]))),
    ]);
    let names: Vec<_> = m.headers.iter().map(|h| &*h.name).collect();
    assert_eq!(
        names,
        [ID, EXPIRES, parked::PARKED, RAW, TOMBSTONE, DELIVERY_COUNT]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!((&*m.id, m.attempts), ("minted", 0));
}

#[test]
fn what_the_server_would_act_on_is_escaped() {
    let names = ["CC", "BCC", "x-death", "x-delivery-count"];
    let out = Outgoing {
        headers: names.map(|n| Header::text(n, "x")).to_vec(),
        ..Outgoing::default()
    };
    let written = write(&out, "q", NOW).unwrap().properties;
    let fields = written.headers().as_ref().unwrap().inner();
    for name in names {
        assert!(!fields.contains_key(name), "{name}");
        assert_eq!(
            fields.get(&*format!("{ESCAPE}{name}")),
            Some(&string("x")),
            "{name}"
        );
    }
}

#[test]
fn dead_letter_headers_stay_as_they_are() {
    let names = [
        "__dlq.errors.topic",
        "wharf-plugin",
        "wharf-cause",
        "wharf-attempts",
    ];
    let out = Outgoing {
        headers: names.map(|n| Header::text(n, "x")).to_vec(),
        ..Outgoing::default()
    };
    let written = write(&out, "dlq", NOW).unwrap().properties;
    let fields = written.headers().as_ref().unwrap().inner();
    assert!(names.iter().all(|n| fields.get(*n) == Some(&string("x"))));
}

#[test]
fn an_output_is_persistent_dated_and_lives_as_long_as_asked() {
    let out = Outgoing {
        ttl_ms: Some(250),
        ..Outgoing::default()
    };
    let p = write(&out, "q", NOW).unwrap().properties;
    assert_eq!(*p.delivery_mode(), Some(2));
    assert_eq!(*p.timestamp(), Some(NOW / 1000));
    assert_eq!(p.expiration().as_ref().unwrap().as_str(), "250");
}

#[test]
fn what_amqp_cannot_hold_is_the_messages_fault() {
    let refused = |out: Outgoing, key: &str| match write(&out, key, NOW) {
        Err(PublishError::Message(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let delayed = Outgoing {
        delay_ms: Some(1),
        ..Outgoing::default()
    };
    assert!(refused(delayed, "q").contains("hold a message back"));
    assert!(refused(Outgoing::default(), &"x".repeat(256)).contains("255"));
    assert!(write(&Outgoing::default(), &"x".repeat(255), NOW).is_ok());
}

/// What a queue of ours, reached by its name through the default exchange, delivers later.
fn waited(first: &Received, stands: Parked, own: bool) -> Received {
    Received {
        tag: 9,
        exchange: ShortString::default(),
        routing_key: "retry.orders.billing".into(),
        redelivered: false,
        properties: stands.properties(first, &reading(own)),
        payload: first.payload.clone(),
    }
}

#[test]
fn a_message_that_waited_is_the_same_with_its_counts() {
    let first = received(
        BasicProperties::default()
            .with_user_id("guest".into())
            .with_expiration("5".into())
            .with_type("order".into())
            .with_headers(table(&[
                ("n", AMQPValue::LongInt(3)),
                ("CC", array(&[string("elsewhere")])),
                (DELIVERY_COUNT, AMQPValue::LongLongInt(4)),
                ("wharf-attempts", string("9")),
            ])),
    );
    let stands = Parked {
        attempts: 2,
        first_failed_ms: Some(NOW),
        deliveries: 5,
        id: Some("minted".into()),
        ..Parked::default()
    };
    let second = waited(&first, stands, false);
    let p = &second.properties;
    assert_eq!((p.user_id(), p.expiration()), (&None, &None));
    assert_eq!(*p.delivery_mode(), Some(2));
    let fields = p.headers().as_ref().unwrap().inner();
    assert_eq!(fields.get("n"), Some(&AMQPValue::LongInt(3)));
    assert!(!fields.contains_key("CC") && !fields.contains_key(DELIVERY_COUNT));

    let before = read(&first, &reading(false), 1, || "minted".into());
    let after = read(&second, &reading(true), 6, || unreachable!());
    assert_eq!((after.attempts, after.first_failed_ms), (2, Some(NOW)));
    assert_eq!((&*after.id, after.id_stable), ("minted", false));
    assert_eq!(after.topic, before.topic);
    assert_eq!(after.origin.source, before.origin.source);
    // One that was sent there did not come from the source.
    let sent = read(&with(&[]), &reading(true), 1, || "sent".into());
    assert_eq!(&*sent.origin.source, "retry.orders.billing");
    let sorted = |m: &Message| {
        let mut headers = m.headers.clone();
        headers.sort_by(|a, b| a.name.cmp(&b.name));
        headers
    };
    assert_eq!(sorted(&after), sorted(&before));

    // It waits once more, and remembers where it first came from.
    let third = waited(
        &second,
        Parked {
            attempts: 3,
            ..Parked::default()
        },
        true,
    );
    let m = read(&third, &reading(true), 1, || unreachable!());
    assert_eq!((m.attempts, &*m.topic, &*m.id), (3, "orders.new", "minted"));
    assert!(pairs(&m).contains(&("amqp-user-id", "guest")));
}

#[test]
fn counts_are_believed_from_a_queue_of_ours_only() {
    let stands = Parked {
        attempts: 2,
        ..Parked::default()
    };
    let elsewhere = waited(&with(&[]), stands, false);
    let m = read(&elsewhere, &reading(false), 1, || "id".into());
    assert_eq!((m.attempts, &*m.topic), (0, "retry.orders.billing"));
}

#[test]
fn the_history_of_our_queues_is_not_the_handlers_business() {
    let death = |queue: &str| AMQPValue::FieldTable(table(&[("queue", string(queue))]));
    let ours = death("retry.orders.billing.1000");
    let fields = |deaths: &[AMQPValue], first: &str| {
        vec![
            ("x-death", array(deaths)),
            ("x-first-death-queue", string(first)),
            ("x-first-death-reason", string("expired")),
            ("x-last-death-queue", string("retry.orders.billing.1000")),
        ]
    };
    let read = |fields: &[(&str, AMQPValue)], own| {
        let m = read(&with(fields), &reading(own), 1, || "id".into());
        m.headers
            .into_iter()
            .map(|h| h.name.to_string())
            .collect::<Vec<_>>()
    };
    let all_ours = fields(std::slice::from_ref(&ours), "retry.orders.billing.1000");
    assert_eq!(read(&all_ours, true), Vec::<String>::new());
    let also = fields(&[ours, death("orders")], "orders");
    let kept = ["x-death", "x-first-death-queue", "x-first-death-reason"];
    assert_eq!(read(&also, true), kept);
    assert_eq!(read(&also, false).len(), 4);
}

#[test]
fn a_quorum_queues_count_is_read_whatever_its_type() {
    assert_eq!(with(&[]).delivery_count(), None);
    for value in [
        AMQPValue::LongLongInt(3),
        AMQPValue::LongUInt(3),
        AMQPValue::ShortShortInt(3),
    ] {
        assert_eq!(with(&[(DELIVERY_COUNT, value)]).delivery_count(), Some(3));
    }
    let negative = with(&[(DELIVERY_COUNT, AMQPValue::LongInt(-1))]);
    assert_eq!(negative.delivery_count(), None);
}
