use super::*;
use crate::{FromMessage, FromMessageRef, Json, Kind};

#[test]
fn headers_keep_their_order_and_names_are_exact() {
    let message = Message::builder("")
        .header("a", "1")
        .header("A", "2")
        .header("a", [0xff, 0x00])
        .build();
    assert_eq!(message.header("a"), Some(&b"1"[..]));
    assert_eq!(
        message.headers_named("a").collect::<Vec<_>>(),
        [&b"1"[..], &[0xff, 0x00][..]]
    );
    assert_eq!(message.header_text("A"), Some("2"));
    assert_eq!(message.header("b"), None);
}

#[test]
fn what_is_not_text_is_no_text() {
    let message = Message::builder([0xc3, 0x28])
        .key([0xff])
        .header("h", [0xff])
        .build();
    assert_eq!(message.key_text(), None);
    assert_eq!(message.header_text("h"), None);
    let error = message.text().unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (Kind::Reject, Some("invalid-utf8"))
    );
    assert_eq!(
        String::take_message(message).unwrap_err().code(),
        Some("invalid-utf8")
    );
}

#[test]
fn json_that_does_not_parse_is_rejected_with_its_place() {
    let error = Message::builder(r#"{"a": }"#)
        .build()
        .json::<serde_json::Value>()
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (Kind::Reject, Some("invalid-json"))
    );
    assert!(
        error.reason().contains("line 1 column 7"),
        "{}",
        error.reason()
    );
}

#[test]
fn arguments_are_read_alike_whether_borrowed_copied_or_taken() {
    let message = Message::builder("[1,2]").key("k").build();
    assert_eq!(
        Json::<Vec<u8>>::from_message(&message),
        Ok(Json(vec![1, 2]))
    );
    assert_eq!(String::from_message(&message).as_deref(), Ok("[1,2]"));
    assert_eq!(
        String::take_message(message.clone()).as_deref(),
        Ok("[1,2]")
    );
    assert_eq!(Vec::<u8>::from_message(&message), Ok(b"[1,2]".to_vec()));
    assert_eq!(
        Vec::<u8>::take_message(message.clone()),
        Ok(b"[1,2]".to_vec())
    );
    assert_eq!(str::from_message_ref(&message), Ok("[1,2]"));
    assert_eq!(<[u8]>::from_message_ref(&message), Ok(&b"[1,2]"[..]));
    assert_eq!(Message::from_message_ref(&message), Ok(&message));
    assert_eq!(Message::from_message(&message).as_ref(), Ok(&message));
    assert_eq!(Message::take_message(message.clone()), Ok(message));
}

#[test]
fn replies_are_correlated_by_what_the_request_names() {
    let asked = Message::builder("").id("m-1").correlation_id("c-9").build();
    let reply = asked.reply("pong");
    assert_eq!(
        (reply.destination.as_str(), reply.payload.as_slice()),
        ("reply", &b"pong"[..])
    );
    assert_eq!(reply.correlation_id.as_deref(), Some("c-9"));

    let plain = Message::builder("").id("m-1").build();
    let reply = plain.reply_json(&[1]).unwrap();
    assert_eq!(reply.correlation_id.as_deref(), Some("m-1"));
    assert_eq!(reply.content_type.as_deref(), Some("application/json"));
}

#[test]
fn forwarding_keeps_every_byte() {
    let message = Message::builder([0, 159, 146, 150])
        .key([0xff])
        .header("h", [0])
        .header("h", "again")
        .content_type("x/y")
        .correlation_id("c")
        .reply_to("r")
        .priority(7)
        .build();
    let out = message.clone().forward("out");
    assert_eq!(out.destination, "out");
    assert_eq!(out.payload, message.payload);
    assert_eq!(out.key, message.key);
    assert_eq!(out.headers, message.headers);
    assert_eq!(out.content_type, message.content_type);
    assert_eq!(out.correlation_id, message.correlation_id);
    assert_eq!(out.reply_to, message.reply_to);
    assert_eq!(out.priority, message.priority);
    assert!(!out.tombstone);

    let deleted = Message::builder_tombstone("k").build().forward("out");
    assert!(deleted.tombstone && deleted.payload.is_empty());
}

#[test]
fn times_and_attempts() {
    let message = Message::builder("")
        .timestamp_ms(1_500)
        .time_left(Duration::from_secs(2))
        .attempt(3)
        .max_attempts(3)
        .build();
    assert_eq!(
        message.published_at(),
        UNIX_EPOCH + Duration::from_millis(1_500)
    );
    assert_eq!(message.time_left(), Duration::from_secs(2));
    assert!(message.is_last_attempt());
}
