use proptest::prelude::*;

use super::*;

fn reading(own: bool) -> Reading {
    Reading {
        broker: "bus".into(),
        subscription: "orders".into(),
        source: "ORDERS".into(),
        group: "billing".into(),
        own,
    }
}

fn beside() -> Beside {
    Beside {
        now_ms: 77,
        deliveries: 1,
    }
}

fn place() -> Place {
    Place {
        stream: "ORDERS".into(),
        sequence: 5,
        published_ns: 1_786_000_000_123_000_000,
        delivered: 1,
    }
}

fn received(headers: &[(&str, &str)]) -> Received {
    Received {
        subject: "orders.eu".into(),
        reply: None,
        headers: headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        payload: "p".into(),
        place: Some(place()),
    }
}

fn read_of(headers: &[(&str, &str)]) -> Message {
    read(&received(headers), &reading(false), beside(), || {
        "minted".into()
    })
}

/// What a client makes of what it is sent, and another of what it receives: names and values as lines, white space off
/// both ends, those of one name together.
fn through_a_client(headers: &[(String, String)]) -> Vec<(String, String)> {
    let mut block = String::from("NATS/1.0\r\n");
    for (name, value) in headers {
        block.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut read: Vec<(String, String)> = block
        .lines()
        .skip(1)
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a header");
            assert!(name.bytes().all(|b| b.is_ascii_graphic()), "{name:?}");
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    read.sort_by(|one, other| one.0.cmp(&other.0));
    read
}

fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "wharf-id",
        "wharf-key",
        "content-type",
        "reply-to",
        "wharf-header",
        "wharf-field",
        "wharf-parked",
        "Nats-Msg-Id",
        "nats-rollup",
        "trace parent",
        "a:b",
        "",
        "Grüße",
        "a",
        "A",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[!-~]{1,8}", "\\PC{0,8}"]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~]{0,12}".prop_map(String::into_bytes),
        "\\PC{0,8}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12),
        Just(b"two\r\nlines".to_vec()),
        Just(b" ends ".to_vec()),
    ]
}

prop_compose! {
    fn outgoing()(
        texts in prop::collection::vec(prop::option::of("\\PC{1,12}|\\PC{0,3}\n\\PC{0,3}"), 4),
        headers in prop::collection::vec((name(), value()), 0..8),
        key in prop::option::of(value()),
        payload in prop::collection::vec(any::<u8>(), 0..64),
        tombstone in any::<bool>(),
        priority in any::<Option<u8>>(),
        ttl_ms in any::<Option<u32>>(),
        raw in prop::option::of(value()),
    ) -> Outgoing {
        let text = |i: usize| texts[i].clone().map(ByteString::from);
        Outgoing {
            id: text(0),
            content_type: text(1),
            correlation_id: text(2),
            reply_to: text(3),
            headers: headers
                .into_iter()
                .map(|(name, value)| Header { name: name.into(), value: value.into() })
                .collect(),
            key: key.map(Bytes::from),
            payload: payload.into(),
            tombstone,
            priority,
            ttl_ms,
            raw_headers: raw
                .map(|value| (Bytes::from_static(b"\xff\xfe="), Bytes::from(value)))
                .into_iter()
                .collect(),
            ..Outgoing::default()
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(out in outgoing()) {
        let written = write(&out, "orders.eu", Way::Stream, 1000).unwrap();
        let back = Received {
            headers: through_a_client(&written.headers),
            payload: written.payload.clone(),
            ..received(&[])
        };
        let message = read(&back, &reading(false), beside(), || "minted".into());
        let id = out.id.clone().unwrap_or_else(|| "ORDERS/5/1786000000123000000".into());
        prop_assert_eq!(&message.id, &id);
        prop_assert_eq!(&message.content_type, &out.content_type);
        prop_assert_eq!(&message.correlation_id, &out.correlation_id);
        prop_assert_eq!(&message.reply_to, &out.reply_to);
        prop_assert_eq!(&message.key, &out.key);
        prop_assert_eq!(message.priority, out.priority);
        prop_assert_eq!(message.expires_at_ms, out.ttl_ms.map(|ttl| 1000 + u64::from(ttl)));
        prop_assert_eq!(message.tombstone, out.tombstone);
        let payload = if out.tombstone { Bytes::new() } else { out.payload.clone() };
        prop_assert_eq!(&message.payload, &payload);
        // Sorted by name; of one name in their order.
        let mut headers = out.headers.clone();
        headers.sort_by(|one, other| one.name.cmp(&other.name));
        prop_assert_eq!(&message.headers, &headers);
        let strange = message.unrepresentable.map(|u| u.headers).unwrap_or_default();
        prop_assert_eq!(strange, out.raw_headers);
    }

    #[test]
    fn what_waits_comes_back_as_it_was(out in outgoing(), attempts in any::<u32>(), again in any::<bool>()) {
        let mut written = write(&out, "orders.eu", Way::Stream, 1000).unwrap();
        written.headers.push(("Nats-Rollup".into(), "sub".into()));
        let first = Received {
            headers: through_a_client(&written.headers),
            payload: written.payload.clone(),
            ..received(&[])
        };
        let before = read(&first, &reading(false), beside(), || "minted".into());
        let mut waiting = first;
        let mut own = false;
        for _ in 0..=u8::from(again) {
            let parked = Parked { attempts, first_failed_ms: Some(9), ..Parked::default() };
            let mut headers = parked.headers(&waiting, own);
            headers.push((MESSAGE_ID.to_owned(), "of the waiting".to_owned()));
            waiting = Received {
                subject: "retry.orders.billing".into(),
                headers: through_a_client(&headers),
                place: Some(Place { stream: "retry~orders~billing".into(), sequence: 900, published_ns: 1, delivered: 2 }),
                ..waiting
            };
            own = true;
        }
        let after = read(&waiting, &reading(true), beside(), || "other".into());
        prop_assert_eq!((after.attempts, after.first_failed_ms), (attempts, Some(9)));
        let back = Message { attempts: 0, first_failed_ms: None, ..after };
        prop_assert_eq!(back, before);
    }

    #[test]
    fn any_pair_of_bytes_comes_back(name in value(), value in value()) {
        let text = escape::pair(&name, &value);
        prop_assert!(escape::value_fits(text.as_bytes()).is_some());
        prop_assert_eq!(escape::unpair(&text), Some((name, value)));
    }

    #[test]
    fn nothing_that_is_received_is_too_strange(headers in prop::collection::vec(("[!-9;-~]{1,12}", "\\PC{0,12}"), 0..6), own in any::<bool>()) {
        let pairs: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let message = read(&received(&pairs), &reading(own), beside(), || "minted".into());
        prop_assert!(!message.id.is_empty());
    }
}

#[test]
fn a_message_of_any_client_is_read() {
    let m = read_of(&[
        ("content-type", "application/json"),
        ("traceparent", "00-1"),
        ("traceparent", "00-2"),
        ("wharf-priority", "high"),
    ]);
    assert_eq!((&*m.topic, &*m.origin.source), ("orders.eu", "ORDERS"));
    assert_eq!(m.origin.position, "5");
    assert_eq!(m.timestamp_ms, 1_786_000_000_123);
    assert_eq!(m.content_type.as_deref(), Some("application/json"));
    assert_eq!(m.id, "ORDERS/5/1786000000123000000");
    assert!(m.id_stable);
    let headers = [
        Header::text("traceparent", "00-1"),
        Header::text("traceparent", "00-2"),
        Header::text("wharf-priority", "high"),
    ];
    assert_eq!(m.headers, headers);
    assert_eq!(m.priority, None);
}

#[test]
fn the_servers_id_is_one_where_there_is_no_other() {
    assert_eq!(read_of(&[("Nats-Msg-Id", "n")]).id, "n");
    let both = read_of(&[("Nats-Msg-Id", "n"), ("wharf-id", "w")]);
    assert_eq!((&*both.id, both.headers.len()), ("w", 0));
}

#[test]
fn outside_of_streams_the_reply_is_where_an_answer_is_wanted() {
    let request = Received {
        reply: Some("_INBOX.1".into()),
        place: None,
        ..received(&[("reply-to", "elsewhere")])
    };
    let m = read(&request, &reading(false), beside(), || "minted".into());
    assert_eq!(m.reply_to.as_deref(), Some("_INBOX.1"));
    assert_eq!(m.headers, [Header::text("reply-to", "elsewhere")]);
    assert_eq!((&*m.id, m.id_stable, m.timestamp_ms), ("minted", false, 77));

    let out = Outgoing {
        reply_to: Some("answers.here".into()),
        ..Outgoing::default()
    };
    let written = write(&out, "a", Way::Core, 0).unwrap();
    assert_eq!(written.reply.as_deref(), Some("answers.here"));
    assert_eq!(written.headers, []);
    let written = write(&out, "a", Way::Stream, 0).unwrap();
    assert_eq!(written.reply, None);
    assert_eq!(written.headers.len(), 1);
}

#[test]
fn what_stands_beside_a_waiting_message_is_believed_only_where_it_waits() {
    let claim = [("wharf-parked", r#"{"attempts":9}"#)];
    let m = read_of(&claim);
    assert_eq!((m.attempts, m.headers.len()), (0, 1));
    let own = read(&received(&claim), &reading(true), beside(), || "m".into());
    assert_eq!((own.attempts, own.headers.len()), (9, 0));
}

fn dead_letter(id: &str, offset: &str) -> Option<String> {
    let header = |name: &'static str, value: &str| Header::text(name, value);
    repeat_id(&Outgoing {
        id: Some(id.to_owned().into()),
        headers: vec![
            header("wharf-cause", "rejected"),
            header("wharf-plugin", "billing"),
            header("wharf-subscription", "orders"),
            header("__dlq.errors.topic", "orders.eu"),
            header("__dlq.errors.offset", offset),
        ],
        ..Outgoing::default()
    })
}

#[test]
fn a_dead_letter_that_fails_again_is_no_repeat() {
    let output = Outgoing {
        id: Some("7".into()),
        ..Outgoing::default()
    };
    assert_eq!(repeat_id(&output).as_deref(), Some("7"));
    assert_ne!(dead_letter("7", "5").as_deref(), Some("7"));
    assert_eq!(dead_letter("7", "5"), dead_letter("7", "5"));
    assert_ne!(dead_letter("7", "5"), dead_letter("7", "6"));
}

#[test]
fn what_cannot_be_published_is_the_messages_fault() {
    let delayed = Outgoing {
        delay_ms: Some(5),
        ..Outgoing::default()
    };
    let refused = |out: &Outgoing, subject: &str| match write(out, subject, Way::Stream, 0) {
        Err(PublishError::Message(said)) => said,
        other => panic!("{subject}: {other:?}"),
    };
    assert!(refused(&delayed, "a").contains("delay"));
    for subject in [
        "", "a b", "a..b", ".a", "a.", "a.*", ">", "a\nPUB b", "a\u{85}",
    ] {
        assert!(refused(&Outgoing::default(), subject).contains("subject"));
    }
}

#[test]
fn text_of_urls_is_decoded() {
    assert_eq!(decode("a%40b"), Some("a@b".to_owned()));
    assert_eq!(decode("plain"), Some("plain".to_owned()));
    for bad in ["%", "%4", "%zz", "%ff"] {
        assert_eq!(decode(bad), None, "{bad}");
    }
}
