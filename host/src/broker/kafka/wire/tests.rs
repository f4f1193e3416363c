use bytestring::ByteString;
use proptest::prelude::*;

use super::*;
use crate::message::flat::ESCAPE;

const NOW: u64 = 1_786_000_000_000;

fn reading() -> Reading {
    Reading {
        broker: "bus".into(),
        subscription: "orders".into(),
        group: "billing".into(),
    }
}

fn record(headers: &[(&[u8], Option<&[u8]>)]) -> Record {
    let bytes = Bytes::copy_from_slice;
    Record {
        topic: "orders".into(),
        partition: 3,
        offset: 1041,
        timestamp_ms: Some(1_786_000_000_123),
        key: Some("k".into()),
        value: Some("{}".into()),
        headers: headers
            .iter()
            .map(|(n, v)| (bytes(n), v.map(bytes)))
            .collect(),
    }
}

fn message(headers: &[(&[u8], Option<&[u8]>)]) -> Message {
    read(&record(headers), &reading(), Kept::default(), 1)
}

/// What another host would read of this output.
fn passed(out: &Outgoing) -> Message {
    let written = write(out, "orders", NOW).unwrap();
    let owned = |b: &[u8]| Bytes::copy_from_slice(b);
    let headers = written.headers.iter();
    let record = Record {
        topic: "orders".into(),
        partition: written.partition.unwrap_or(0),
        offset: 0,
        timestamp_ms: None,
        key: written.key.map(owned),
        value: written.value.map(owned),
        headers: headers.map(|(n, v)| (owned(n), Some(owned(v)))).collect(),
    };
    read(&record, &reading(), Kept::default(), 1)
}

#[test]
fn a_plain_record_is_payload_key_and_headers() {
    let kept = Kept {
        attempts: 2,
        first_failed_ms: Some(5),
    };
    let m = read(
        &record(&[(b"a", Some(b"1")), (b"", Some(b"")), (b"a", Some(b"2"))]),
        &reading(),
        kept,
        3,
    );
    assert_eq!(&m.payload[..], b"{}");
    assert_eq!(m.key.as_deref(), Some(&b"k"[..]));
    let headers = [
        Header::text("a", "1"),
        Header::text("", ""),
        Header::text("a", "2"),
    ];
    assert_eq!(m.headers, headers);
    assert_eq!((&*m.id, m.id_stable), ("orders/3/1041", true));
    assert_eq!(m.timestamp_ms, 1_786_000_000_123);
    assert_eq!(
        (m.attempts, m.first_failed_ms, m.deliveries),
        (2, Some(5), 3)
    );
    assert_eq!((&*m.topic, m.tombstone), ("orders", false));
    let origin = Origin {
        broker: "bus".into(),
        source: "orders".into(),
        partition: Some(3),
        position: "1041".into(),
        group: Some("billing".into()),
    };
    assert_eq!(m.origin, origin);
}

#[test]
fn metadata_is_read_from_its_headers() {
    let m = message(&[
        (b"wharf-id", Some(b"o-7")),
        (b"content-type", Some(b"application/json")),
        (b"correlation-id", Some(b"c")),
        (b"reply-to", Some(b"answers")),
        (b"wharf-priority", Some(b"9")),
        (b"wharf-expires", Some(b"17")),
        (b"traceparent", Some(b"00-1")),
    ]);
    assert_eq!(&*m.id, "o-7");
    assert_eq!(m.content_type.as_deref(), Some("application/json"));
    assert_eq!(m.correlation_id.as_deref(), Some("c"));
    assert_eq!(m.reply_to.as_deref(), Some("answers"));
    assert_eq!((m.priority, m.expires_at_ms), (Some(9), Some(17)));
    assert_eq!(m.headers, [Header::text("traceparent", "00-1")]);
}

#[test]
fn metadata_twice_or_that_makes_no_sense_is_a_header() {
    let m = message(&[
        (b"wharf-priority", Some(b"high")),
        (b"wharf-priority", Some(b"1")),
        (b"wharf-priority", Some(b"2")),
        (b"wharf-id", Some(b"")),
        (b"content-type", Some(b"\xff")),
    ]);
    assert_eq!(m.priority, Some(1));
    assert_eq!(&*m.id, "orders/3/1041");
    let names: Vec<&str> = m.headers.iter().map(|h| &*h.name).collect();
    let expected = [
        "wharf-priority",
        "wharf-priority",
        "wharf-id",
        "content-type",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_null_value_is_a_tombstone_and_an_empty_one_is_not() {
    let mut null = record(&[]);
    null.value = None;
    assert!(read(&null, &reading(), Kept::default(), 1).tombstone);
    let mut empty = record(&[]);
    empty.value = Some(Bytes::new());
    assert!(!read(&empty, &reading(), Kept::default(), 1).tombstone);
    let out = Outgoing {
        tombstone: true,
        ..Outgoing::default()
    };
    assert_eq!(write(&out, "t", NOW).unwrap().value, None);
    let empty = Outgoing::default();
    assert_eq!(write(&empty, "t", NOW).unwrap().value, Some(&b""[..]));
}

#[test]
fn an_empty_key_is_a_key() {
    let out = Outgoing {
        key: Some(Bytes::new()),
        ..Outgoing::default()
    };
    assert_eq!(passed(&out).key, Some(Bytes::new()));
    assert_eq!(passed(&Outgoing::default()).key, None);
}

#[test]
fn a_header_without_a_value_is_an_empty_one() {
    assert_eq!(message(&[(b"a", None)]).headers, [Header::text("a", "")]);
}

#[test]
fn a_header_name_that_is_not_utf8_is_kept_for_the_dead_letter() {
    let m = message(&[(b"a", Some(b"1")), (b"\xff\xfe", Some(b"2"))]);
    assert_eq!(m.headers, [Header::text("a", "1")]);
    let strange = *m.unrepresentable.unwrap();
    let pair = (Bytes::from_static(b"\xff\xfe"), Bytes::from_static(b"2"));
    assert_eq!(strange.headers, std::slice::from_ref(&pair));
    assert!(strange.reason.starts_with("1 of"), "{}", strange.reason);
    let dead = Outgoing {
        raw_headers: vec![pair.clone()],
        ..Outgoing::default()
    };
    assert_eq!(passed(&dead).unrepresentable.unwrap().headers, [pair]);
}

#[test]
fn a_time_before_1970_and_no_time_are_none() {
    for timestamp_ms in [None, Some(-1)] {
        let record = Record {
            timestamp_ms,
            ..record(&[])
        };
        assert_eq!(
            read(&record, &reading(), Kept::default(), 1).timestamp_ms,
            0
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
    let written = write(&out, "dlq", NOW).unwrap();
    let wire: Vec<&[u8]> = written.headers.iter().map(|(n, _)| &n[..]).collect();
    assert_eq!(wire, names.map(str::as_bytes));
}

#[test]
fn a_header_that_bears_a_taken_name_is_escaped() {
    let out = Outgoing {
        headers: vec![Header::text("wharf-id", "mine")],
        ..Outgoing::default()
    };
    let written = write(&out, "t", NOW).unwrap();
    assert_eq!(&written.headers[0].0[..], b"wharf-header:wharf-id");
}

#[test]
fn what_kafka_cannot_hold_is_the_messages_fault() {
    let refused = |out: Outgoing, topic: &str| match write(&out, topic, NOW) {
        Err(PublishError::Message(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let delayed = Outgoing {
        delay_ms: Some(1),
        ..Outgoing::default()
    };
    assert!(refused(delayed, "t").contains("hold a message back"));
    let nowhere = Outgoing {
        partition: Some(u32::MAX),
        ..Outgoing::default()
    };
    assert!(refused(nowhere, "t").contains("partition"));
    let zero = Outgoing {
        headers: vec![Header::text("a\0b", "")],
        ..Outgoing::default()
    };
    assert!(refused(zero, "t").contains("zero byte"));
    for topic in ["", ".", "..", "a b", "a/b", "ö", &"x".repeat(250)] {
        assert!(
            refused(Outgoing::default(), topic).contains("topic"),
            "{topic}"
        );
    }
    assert!(write(&Outgoing::default(), &"x".repeat(249), NOW).is_ok());
}

/// Names that are read as something else unless escaped, and any others without a zero byte.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(METADATA.0.iter().map(|&m| m.to_owned()).collect::<Vec<_>>()),
        proptest::sample::select(
            METADATA
                .0
                .iter()
                .map(|m| format!("{ESCAPE}{m}"))
                .collect::<Vec<_>>()
        ),
        Just(ESCAPE.to_owned()),
        Just(String::new()),
        "[^\0]{0,12}",
    ]
}

fn data() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

fn raw_name() -> impl Strategy<Value = Bytes> {
    let name = proptest::collection::vec(1..=255_u8, 1..12).prop_map(Bytes::from);
    name.prop_filter("not UTF-8", |n| std::str::from_utf8(n).is_err())
}

fn text() -> impl Strategy<Value = ByteString> {
    ".{0,16}".prop_map(ByteString::from)
}

prop_compose! {
    fn outgoing()(
        id in proptest::option::of(".{1,16}"),
        key in proptest::option::of(data()),
        headers in proptest::collection::vec((name(), data()), 0..6),
        raw_headers in proptest::collection::vec((raw_name(), data()), 0..2),
        payload in data(),
        tombstone in any::<bool>(),
        (content_type, correlation_id, reply_to) in (
            proptest::option::of(text()),
            proptest::option::of(text()),
            proptest::option::of(text()),
        ),
        priority in proptest::option::of(any::<u8>()),
        ttl_ms in proptest::option::of(any::<u32>()),
        partition in proptest::option::of(0..64_u32),
    ) -> Outgoing {
        Outgoing {
            id: id.map(ByteString::from),
            key,
            headers: headers
                .into_iter()
                .map(|(name, value)| Header { name: name.into(), value })
                .collect(),
            raw_headers,
            payload: if tombstone { Bytes::new() } else { payload },
            tombstone,
            content_type,
            correlation_id,
            reply_to,
            priority,
            ttl_ms,
            partition,
            ..Outgoing::default()
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(out in outgoing()) {
        let m = passed(&out);
        match &out.id {
            Some(id) => prop_assert_eq!(&m.id, id),
            None => prop_assert!(m.id.starts_with("orders/")),
        }
        prop_assert_eq!(&m.key, &out.key);
        prop_assert_eq!(&m.headers, &out.headers);
        prop_assert_eq!(&m.payload, &out.payload);
        prop_assert_eq!(m.tombstone, out.tombstone);
        prop_assert_eq!(&m.content_type, &out.content_type);
        prop_assert_eq!(&m.correlation_id, &out.correlation_id);
        prop_assert_eq!(&m.reply_to, &out.reply_to);
        prop_assert_eq!(m.priority, out.priority);
        prop_assert_eq!(m.expires_at_ms, out.ttl_ms.map(|t| NOW + u64::from(t)));
        prop_assert_eq!(m.origin.partition, Some(out.partition.unwrap_or(0)));
        let raw = m.unrepresentable.map(|u| u.headers).unwrap_or_default();
        prop_assert_eq!(raw, out.raw_headers);
    }
}
