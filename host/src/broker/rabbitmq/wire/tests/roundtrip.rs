//! What is written is what is read, for any output.

use proptest::prelude::*;

use super::*;

/// What another host would read of this output.
fn passed(out: &Outgoing) -> Message {
    let written = write(out, "orders", NOW).unwrap();
    let received = Received {
        tag: 1,
        exchange: ShortString::default(),
        routing_key: written.routing_key,
        redelivered: false,
        properties: written.properties,
        payload: Bytes::copy_from_slice(written.payload),
    };
    read(&received, &reading(false), 1, || "minted".into())
}

/// Names that are read as something else unless escaped, names of properties, names that fit no table, and any others.
fn name() -> impl Strategy<Value = String> {
    let properties = [CONTENT_ENCODING, TYPE, APP_ID, USER_ID, CLUSTER_ID];
    prop_oneof![
        proptest::sample::select(RESERVED.map(str::to_owned).to_vec()),
        proptest::sample::select(RESERVED.map(|m| format!("{ESCAPE}{m}")).to_vec()),
        proptest::sample::select(properties.map(str::to_owned).to_vec()),
        Just(ESCAPE.to_owned()),
        Just(String::new()),
        Just("x".repeat(255)),
        Just("y".repeat(256)),
        Just(format!("{ESCAPE}{}", "z".repeat(240))),
        "[a-c]",
        ".{0,12}",
    ]
}

fn data() -> impl Strategy<Value = Bytes> {
    let any = proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    prop_oneof![
        any,
        "[a-z]{0,8}".prop_map(Bytes::from),
        Just(Bytes::from("v".repeat(300)))
    ]
}

fn raw_name() -> impl Strategy<Value = Bytes> {
    let name = proptest::collection::vec(any::<u8>(), 1..12).prop_map(Bytes::from);
    name.prop_filter("not UTF-8", |n| std::str::from_utf8(n).is_err())
}

fn text() -> impl Strategy<Value = ByteString> {
    prop_oneof![
        ".{0,16}".prop_map(ByteString::from),
        Just("t".repeat(255).into()),
        Just("t".repeat(256).into()),
    ]
}

prop_compose! {
    fn outgoing()(
        id in proptest::option::of(text()),
        key in proptest::option::of(data()),
        headers in proptest::collection::vec((name(), data()), 0..8),
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
    ) -> Outgoing {
        Outgoing {
            id: id.filter(|id| !id.is_empty()),
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
            ..Outgoing::default()
        }
    }
}

/// By name: what the client hands over has no other order. Those of one name stay as they are.
fn sorted(headers: &[Header]) -> Vec<Header> {
    let mut headers = headers.to_vec();
    headers.sort_by(|a, b| a.name.cmp(&b.name));
    headers
}

proptest! {
    #[test]
    fn what_is_written_is_read(out in outgoing()) {
        let m = passed(&out);
        prop_assert_eq!(&*m.id, out.id.as_deref().unwrap_or("minted"));
        prop_assert_eq!(m.id_stable, out.id.is_some());
        prop_assert_eq!(&m.key, &out.key);
        prop_assert_eq!(sorted(&m.headers), sorted(&out.headers));
        prop_assert_eq!(&m.payload, &out.payload);
        prop_assert_eq!(m.tombstone, out.tombstone);
        prop_assert_eq!(&m.content_type, &out.content_type);
        prop_assert_eq!(&m.correlation_id, &out.correlation_id);
        prop_assert_eq!(&m.reply_to, &out.reply_to);
        prop_assert_eq!(m.priority, out.priority);
        prop_assert_eq!(m.timestamp_ms, NOW);
        prop_assert_eq!(m.expires_at_ms, out.ttl_ms.map(|t| NOW + u64::from(t)));
        let raw = m.unrepresentable.map(|u| u.headers).unwrap_or_default();
        prop_assert_eq!(raw, out.raw_headers);
    }
}
