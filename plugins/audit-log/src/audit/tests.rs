use serde_json::{Value, json};
use wharf_sdk::Kind;

use super::*;

fn audit<const N: usize>(settings: [(&str, &str); N]) -> Result<Audit> {
    config::with(settings, || Audit::new(&mut Settings::read()?))
}

/// The line about a message, and the record.
fn audited<const N: usize>(settings: [(&str, &str); N], message: &Message) -> (Value, Value) {
    let audited = audit(settings).unwrap().audit(message).unwrap();
    let line = audited.line.unwrap();
    assert!(!line.contains('\n'), "{line}");
    let record = audited.record.map(|out| out.payload).unwrap_or_default();
    let record = serde_json::from_slice(&record).unwrap_or_default();
    (serde_json::from_str(&line).unwrap(), record)
}

fn message(payload: impl Into<Vec<u8>>) -> Message {
    Message::builder(payload)
        .id("m-1")
        .subscription("events")
        .topic("user.events")
        .timestamp_ms(1_700_000_000_123)
        .key("u-7")
        .header("Tenant", "acme")
        .header("cookie", "hunter2")
        .content_type("application/json")
        .correlation_id("c-1")
        .build()
}

#[test]
fn by_default_nothing_of_a_payload_and_no_header_is_recorded() {
    let message = message(r#"{"user": "ada", "password": "hunter2"}"#);
    let expected = json!({
        "id": "m-1",
        "subscription": "events",
        "topic": "user.events",
        "published": "2023-11-14T22:13:20.123Z",
        "key": "u-7",
        "content_type": "application/json",
        "correlation_id": "c-1",
        "size": 38,
        "sha256": "0f038fcb62678989a7db8b857cfebc1066dd5a33481f1ca3860fa27d743250d1",
    });
    let (line, record) = audited([], &message);
    assert_eq!(line, expected);
    assert_eq!(record, Value::Null);
    let (line, record) = audited([("trail", "true")], &message);
    assert_eq!((line, record), (expected.clone(), expected));
}

#[test]
fn a_trail_is_published_with_key_and_correlation() {
    let settings = [("trail", "true"), ("log", "false")];
    let audited = audit(settings).unwrap().audit(&message("x")).unwrap();
    assert_eq!(audited.line, None);
    let out = audited.record.unwrap();
    assert_eq!(out.destination, "trail");
    assert_eq!(out.key.as_deref(), Some(&b"u-7"[..]));
    assert_eq!(out.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(out.content_type.as_deref(), Some("application/json"));
    assert_eq!(out.headers, []);
}

#[test]
fn fields_and_headers_that_are_asked_for_are_recorded() {
    let settings = [
        ("fields", "/user/id, /a~1b/0, /absent"),
        ("headers", "tenant"),
    ];
    let (line, _) = audited(settings, &message(r#"{"user": {"id": 7}, "a/b": ["x"]}"#));
    assert_eq!(line["fields"], json!({"/user/id": 7, "/a~1b/0": "x"}));
    assert_eq!(line["headers"], json!({"tenant": ["acme"]}));
    let (line, _) = audited(settings, &message("not JSON"));
    assert_eq!(line["fields"], Value::Null);
}

#[test]
fn a_payload_is_recorded_as_it_reads_best() {
    let settings = [("payload", "whole"), ("trail", "true")];
    let audit = audit(settings).unwrap();
    let text = |payload: &[u8]| {
        let audited = audit.audit(&message(payload)).unwrap();
        let record = String::from_utf8(audited.record.unwrap().payload).unwrap();
        (audited.line.unwrap(), record)
    };
    // Digits that no number type holds, and white space between the parts.
    let (line, record) = text(b"{\"price\": 1.10,\n\t\"big\": 123456789012345678901234567890}");
    assert!(
        line.ends_with(r#","payload":{"price": 1.10,  "big": 123456789012345678901234567890}}"#),
        "{line}"
    );
    assert!(
        record.contains("1.10,\n\t\"big\": 123456789012345678901234567890"),
        "{record}"
    );
    for (payload, expected) in [
        (
            &b"not JSON\n\x7f"[..],
            r#""payload_text":"not JSON\n\u007f"}"#,
        ),
        (b"\xff", r#""payload_base64":"/w=="}"#),
        (b"", r#""payload_text":""}"#),
    ] {
        let (line, _) = text(payload);
        assert!(line.ends_with(expected), "{line}");
        let _whole: Value = serde_json::from_str(&line).unwrap();
    }
}

#[test]
fn a_line_leaves_out_what_is_long_and_a_record_does_not() {
    let settings = [
        ("payload", "whole"),
        ("trail", "true"),
        ("fields", "/a"),
        ("headers", "tenant"),
    ];
    let long = "ž".repeat(1_000);
    let (line, record) = audited(
        settings,
        &message(json!({ "a": "b", "long": long }).to_string()),
    );
    assert_eq!(line["left_out"], json!(["payload"]));
    assert_eq!(line["fields"], json!({"/a": "b"}));
    assert_eq!(record["payload"]["long"], json!(long));
    assert_eq!(record["left_out"], Value::Null);

    let mut message = message(json!({ "a": long }).to_string());
    message.key = Some(vec![0xff; 4_000]);
    let (line, record) = audited(settings, &message);
    let all = [
        "payload",
        "fields",
        "headers",
        "correlation_id",
        "content_type",
        "key",
    ];
    assert_eq!(line["left_out"], json!(all));
    assert_eq!(line["id"], "m-1");
    assert!(line.to_string().len() < 2048);
    assert!(record["key_base64"].as_str().unwrap().len() > 4_000);
    assert_eq!(record["fields"]["/a"], json!(long));
}

#[test]
fn a_deletion_marker_has_no_digest() {
    let message = Message::builder_tombstone(b"k").build();
    let (line, _) = audited([("payload", "whole")], &message);
    assert_eq!(
        (&line["tombstone"], &line["size"]),
        (&json!(true), &json!(0))
    );
    let object = line.as_object().unwrap();
    assert!(!object.contains_key("sha256") && !object.contains_key("payload_text"));
}

#[test]
fn wrong_settings_make_messages_wait() {
    for (settings, said) in [
        (
            ("payload", "all"),
            "the setting `payload` is `all`, not `digest` or `whole`",
        ),
        (
            ("fields", "/ok, user.id"),
            "`user.id` in the setting `fields` is no JSON pointer",
        ),
        (("log", "false"), "nothing would be recorded"),
    ] {
        let error = audit([settings]).err().unwrap();
        assert_eq!(
            (error.kind(), error.code()),
            (Kind::Unavailable, Some("config"))
        );
        assert!(error.reason().contains(said), "{error}");
    }
}
