//! What reaches a guest and what comes back, field by field.

use bytes::Bytes;
use serde_json::{Value, json};
use wharf::handler::{FailureKind, Outcome};
use wharf::message::{Header, Message};
use wharf::plugin::settings::{HeaderSelection, Provide};

use super::{answer, host, order, outputs};

fn full() -> Message {
    let mut message = order(json!({"do": "describe"}));
    message.key = Some(Bytes::from_static(b"\x00k"));
    message.headers = ["a", "B", "a"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| Header::text(name, n.to_string()))
        .collect();
    message.content_type = Some("application/json".into());
    message.correlation_id = Some("c".into());
    message.reply_to = Some("r".into());
    message.priority = Some(7);
    message.expires_at_ms = Some(99);
    message.deliveries = 2;
    message
}

#[test]
fn a_message_arrives_whole() {
    let host = host();
    let plugin = host.add("puppet", |_| {});
    let message = full();
    let mut expected = json!({
        "id": "m-1", "id-stable": true, "subscription": "in", "topic": "orders", "origin": null,
        "key": "006b", "headers": [["a", "30"], ["B", "31"], ["a", "32"]], "tombstone": false,
        "timestamp-ms": 1, "attempt": 1, "max-attempts": 4, "deliveries": 2, "time-left-ms": 5000,
        "content-type": "application/json", "correlation-id": "c", "reply-to": "r", "priority": 7,
        "expires-at-ms": 99,
    });
    expected["payload"] = message
        .payload
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into();
    assert_eq!(answer(host.call(&plugin, message)), expected);
}

#[test]
fn origin_and_headers_are_passed_as_configured() {
    let host = host();
    let plugin = host.add("puppet", |settings| {
        settings.provide = Provide {
            origin: true,
            headers: HeaderSelection::Names(vec!["b".into(), "c".into()]),
        };
    });
    let seen = answer(host.call(&plugin, full()));
    assert_eq!(
        seen["headers"],
        json!([["B", "31"]]),
        "by name, whatever its case"
    );
    assert_eq!(
        seen["origin"],
        json!({"broker": "events", "source": "orders", "partition": 3, "position": "17", "attributes": []})
    );
}

#[test]
fn an_output_comes_back_whole() {
    let host = host();
    let plugin = host.add("puppet", |settings| {
        settings
            .destinations
            .insert("out".into(), vec!["audit.*".into()]);
    });
    let output = json!({
        "payload": "p", "key": "k", "topic": "audit.eu", "id": "i", "header_list": [["x", "1"], ["x", "2"]],
        "content_type": "t", "correlation_id": "c", "reply_to": "r", "partition": 4, "delay_ms": 5,
        "ttl_ms": 6, "priority": 7, "tombstone": true,
    });
    let out =
        outputs(host.call(&plugin, order(json!({"do": "accept", "outputs": [output]})))).remove(0);
    assert_eq!(&*out.destination, "out");
    assert_eq!(out.topic.as_deref(), Some("audit.eu"));
    assert_eq!(out.id.as_deref(), Some("i"));
    assert_eq!(out.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(&*out.payload, b"p");
    assert_eq!(
        out.headers,
        [Header::text("x", "1"), Header::text("x", "2")]
    );
    assert_eq!(out.content_type.as_deref(), Some("t"));
    assert_eq!(out.correlation_id.as_deref(), Some("c"));
    assert_eq!(out.reply_to.as_deref(), Some("r"));
    assert_eq!(
        (out.partition, out.delay_ms, out.ttl_ms, out.priority),
        (Some(4), Some(5), Some(6), Some(7))
    );
    assert!(out.tombstone);
}

#[test]
fn a_reply_is_allowed_where_one_is_asked_for() {
    let host = host();
    let plugin = host.add("puppet", |settings| settings.reply = true);
    let mut message = order(json!({"do": "reply", "text": "hi"}));
    message.reply_to = Some("inbox.1".into());
    assert_eq!(
        &*outputs(host.call(&plugin, message))[0].destination,
        "reply"
    );
}

#[test]
fn failures_keep_their_kind_reason_code_and_delay() {
    let host = host();
    let plugin = host.add("puppet", |_| {});
    for (word, kind) in [
        ("retry", FailureKind::Retry),
        ("reject", FailureKind::Reject),
        ("unavailable", FailureKind::Unavailable),
    ] {
        let mut act = json!({"do": word, "reason": "why", "code": "e-1"});
        if word == "retry" {
            act["after_ms"] = Value::from(1500);
        }
        let Ok(Outcome::Failed(failure)) = host.call(&plugin, order(act)).result else {
            panic!("{word} is a failure");
        };
        assert_eq!(
            (failure.kind, &*failure.reason, failure.code.as_deref()),
            (kind, "why", Some("e-1"))
        );
        let after = (word == "retry").then(|| std::time::Duration::from_millis(1500));
        assert_eq!(failure.after, after);
    }
    assert_eq!(
        plugin.status().instances,
        1,
        "a failure is no fault: the instance lives on"
    );
}

#[test]
fn a_large_and_odd_message_passes_byte_for_byte() {
    let host = host();
    let plugin = host.add("identity", |settings| {
        settings.limits.output = wharf::config::ByteSize::mib(16);
    });
    let mut message = super::message("");
    message.payload = (0..5 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    message.headers = (0..1000)
        .map(|n| Header::text("same", n.to_string()))
        .collect();
    let out = outputs(host.call(&plugin, message.clone())).remove(0);
    assert!(out.payload == message.payload, "5 MiB");
    assert_eq!(out.headers, message.headers);
}
