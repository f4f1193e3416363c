use proptest::prelude::*;

use super::*;

fn reading() -> Reading {
    Reading {
        broker: "b".into(),
        subscription: "s".into(),
        place: "jobs".into(),
        group: "g".into(),
    }
}

fn known() -> Known {
    Known {
        position: "1700000000000-x-1".into(),
        stable: false,
        at_ms: 1_700_000_000_000,
        kept: Kept {
            attempts: 2,
            first_failed_ms: Some(5),
            deliveries: 3,
        },
    }
}

fn plain(value: &[u8]) -> Message {
    read(Bytes::copy_from_slice(value), &reading(), known())
}

#[test]
fn what_is_no_envelope_is_a_payload_byte_for_byte() {
    let good = b"wharf/1 8\n1:a,1:b,rest";
    assert_eq!(&plain(good).payload[..], b"rest");
    assert_eq!(plain(good).headers, [Header::text("a", "b")]);
    let nearly: [&[u8]; 16] = [
        b"",
        b"wharf/1 ",
        b"wharf/1 0",
        b"wharf/2 0\nx",
        b"Wharf/1 0\nx",
        b"wharf/1 9\n1:a,1:b,",
        b"wharf/1 4\n1:a,rest",
        b"wharf/1 8\n1:a,1:b;rest",
        b"wharf/1 8\n1;a,1:b,rest",
        b"wharf/1 8\n9:a,1:b,rest",
        b"wharf/1 08\n1:a,1:b,rest",
        b"wharf/1 +8\n1:a,1:b,rest",
        b"wharf/1 -8\n1:a,1:b,rest",
        b"wharf/1 99999999999999999999\nx",
        b"wharf/1 8\n01:a,:b,rest",
        b"wharf/1  8\n1:a,1:b,rest",
    ];
    for value in nearly {
        let message = plain(value);
        assert_eq!(&message.payload[..], value, "{}", value.escape_ascii());
        assert!(message.headers.is_empty());
        assert_eq!(&*message.id, "1700000000000-x-1");
        assert!(!message.id_stable);
        assert_eq!(message.timestamp_ms, 1_700_000_000_000);
        assert_eq!((message.attempts, message.deliveries), (2, 3));
    }
}

#[test]
fn an_id_and_a_time_of_the_publishers_own_come_first() {
    let out = Outgoing {
        id: Some("mine".into()),
        ttl_ms: Some(250),
        ..Outgoing::default()
    };
    let message = plain(&write(&out, 1000).unwrap());
    assert_eq!((&*message.id, message.id_stable), ("mine", true));
    assert_eq!(message.timestamp_ms, 1000);
    assert_eq!(message.expires_at_ms, Some(1250));
}

#[test]
fn a_name_that_is_not_utf8_is_kept_for_the_dead_letter() {
    let out = Outgoing {
        raw_headers: vec![(Bytes::from_static(b"\xff"), Bytes::from_static(b"v"))],
        payload: Bytes::from_static(b"p"),
        ..Outgoing::default()
    };
    let message = plain(&write(&out, 1).unwrap());
    let kept = message.unrepresentable.expect("named");
    assert_eq!(kept.headers, out.raw_headers);
    assert_eq!(&message.payload[..], b"p");
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = ByteString> {
    "\\PC{0,12}".prop_map(ByteString::from)
}

fn name() -> impl Strategy<Value = ByteString> {
    let taken = prop::sample::select(vec![
        "wharf-id",
        "wharf-key",
        "wharf-published",
        "wharf-tombstone",
        "wharf-header:wharf-id",
        "content-type",
        "",
    ]);
    prop_oneof![text(), taken.prop_map(ByteString::from)]
}

fn outgoing() -> impl Strategy<Value = Outgoing> {
    let header = (name(), bytes()).prop_map(|(name, value)| Header { name, value });
    let lookalike = bytes().prop_map(|rest| {
        let envelope = Outgoing {
            payload: rest,
            ..Outgoing::default()
        };
        Bytes::from(write(&envelope, 7).expect("small"))
    });
    (
        "[a-z/0-9-]{1,20}",
        prop::option::of(bytes()),
        prop::collection::vec(header, 0..6),
        prop_oneof![bytes(), lookalike],
        any::<bool>(),
        (
            prop::option::of(text()),
            prop::option::of(text()),
            prop::option::of(text()),
        ),
        (
            prop::option::of(any::<u8>()),
            prop::option::of(any::<u32>()),
        ),
    )
        .prop_map(
            |(id, key, headers, payload, tombstone, texts, numbers)| Outgoing {
                id: Some(id.into()),
                key,
                headers,
                payload: if tombstone { Bytes::new() } else { payload },
                tombstone,
                content_type: texts.0,
                correlation_id: texts.1,
                reply_to: texts.2,
                priority: numbers.0,
                ttl_ms: numbers.1,
                ..Outgoing::default()
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(out in outgoing(), now in 0..u64::from(u32::MAX)) {
        let value = write(&out, now).expect("small");
        let message = plain(&value);
        prop_assert_eq!(Some(&message.id), out.id.as_ref());
        prop_assert_eq!(&message.key, &out.key);
        prop_assert_eq!(&message.headers, &out.headers);
        prop_assert_eq!(&message.payload, &out.payload);
        prop_assert_eq!(message.tombstone, out.tombstone);
        prop_assert_eq!(&message.content_type, &out.content_type);
        prop_assert_eq!(&message.correlation_id, &out.correlation_id);
        prop_assert_eq!(&message.reply_to, &out.reply_to);
        prop_assert_eq!(message.priority, out.priority);
        prop_assert_eq!(message.expires_at_ms, out.ttl_ms.map(|ttl| now + u64::from(ttl)));
        prop_assert_eq!(message.timestamp_ms, now);
        prop_assert!(message.unrepresentable.is_none());
    }

    /// A value that is cut short, or has one byte changed in its head, is never half an envelope.
    #[test]
    fn a_damaged_envelope_is_a_payload_or_another_envelope(out in outgoing(), cut in any::<prop::sample::Index>()) {
        let value = write(&out, 1).expect("small");
        let fields = value.len() - out.payload.len();
        let short = &value[..cut.index(fields)];
        prop_assert_eq!(&plain(short).payload[..], short);
    }

    #[test]
    fn any_bytes_are_read(value in bytes()) {
        let message = plain(&value);
        prop_assert_eq!(message.payload, value);
    }
}
