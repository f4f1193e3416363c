use super::super::entry::EntryId;
use super::*;

fn raw(fields: &[(&[u8], &[u8])]) -> Raw {
    Raw {
        id: EntryId {
            ms: 1_700_000_000_000,
            seq: 3,
        },
        fields: fields
            .iter()
            .map(|(n, v)| (Bytes::copy_from_slice(n), Bytes::copy_from_slice(v)))
            .collect(),
    }
}

fn reading(payload: PayloadFrom) -> Reading {
    Reading {
        broker: "b".into(),
        subscription: "s".into(),
        stream: "orders".into(),
        group: Some("g".into()),
        payload,
    }
}

fn field(name: &str) -> PayloadFrom {
    PayloadFrom::Field(name.into())
}

#[test]
fn a_plain_entry_is_payload_and_headers() {
    let m = read(
        raw(&[(b"a", b"1"), (b"payload", b"{}"), (b"a", b"2")]),
        &reading(field("payload")),
        Kept {
            attempts: 2,
            first_failed_ms: None,
            deliveries: 5,
        },
    );
    assert_eq!(&m.payload[..], b"{}");
    assert_eq!(m.headers, [Header::text("a", "1"), Header::text("a", "2")]);
    assert_eq!(&*m.id, "1700000000000-3");
    assert!(m.id_stable);
    assert_eq!(m.timestamp_ms, 1_700_000_000_000);
    assert_eq!((m.attempts, m.deliveries), (2, 5));
}

#[test]
fn without_the_payload_field_everything_is_headers() {
    let m = read(
        raw(&[(b"a", b"1")]),
        &reading(field("body")),
        Kept::default(),
    );
    assert!(m.payload.is_empty());
    assert!(!m.tombstone);
    assert_eq!(m.headers, [Header::text("a", "1")]);
}

#[test]
fn a_whole_entry_is_a_json_object() {
    let m = read(
        raw(&[
            (b"a", b"1"),
            (b"b", b"\xff\x00\x10"),
            (b"a", b"2"),
            (b"a", b"3"),
            (b"wharf-id", b"x"),
        ]),
        &reading(PayloadFrom::Entry),
        Kept::default(),
    );
    let json: Json = serde_json::from_slice(&m.payload).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"a": ["1", "2", "3"], "b": {"$base64": "/wAQ"}})
    );
    assert_eq!(&*m.id, "x");
    assert_eq!(m.content_type.as_deref(), Some("application/json"));
}

#[test]
fn a_field_name_that_is_not_utf8_is_kept_for_the_dead_letter() {
    let m = read(
        raw(&[(b"\xff\xfe", b"v"), (b"ok", b"1"), (b"payload", b"p")]),
        &reading(field("payload")),
        Kept::default(),
    );
    let kept = m.unrepresentable.expect("named");
    assert_eq!(
        kept.headers,
        [(Bytes::from_static(b"\xff\xfe"), Bytes::from_static(b"v"))]
    );
    assert_eq!(m.headers, [Header::text("ok", "1")]);
    assert_eq!(&m.payload[..], b"p");
}

#[test]
fn metadata_that_cannot_be_read_stays_a_header() {
    let m = read(
        raw(&[
            (b"wharf-priority", b"high"),
            (b"wharf-expires", b"5"),
            (b"wharf-expires", b"6"),
        ]),
        &reading(field("payload")),
        Kept::default(),
    );
    assert_eq!(m.priority, None);
    assert_eq!(m.expires_at_ms, Some(5));
    assert_eq!(
        m.headers,
        [
            Header::text("wharf-priority", "high"),
            Header::text("wharf-expires", "6")
        ]
    );
}

#[test]
fn a_time_to_live_is_written_as_its_end() {
    let out = Outgoing {
        ttl_ms: Some(250),
        ..Outgoing::default()
    };
    let fields = write(&out, "payload", 1000);
    assert!(
        fields
            .iter()
            .any(|(n, v)| &n[..] == b"wharf-expires" && &v[..] == b"1250")
    );
}
