//! What goes in comes out, byte for byte.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::support::*;
use crate::broker::embedded::codec;
use crate::message::{Header, Outgoing};
use crate::ports::Broker as _;

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn text_of(max: usize) -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..max).prop_map(String::from_iter)
}

fn header() -> impl Strategy<Value = Header> {
    // Few names, so that they repeat; lengths on both sides of one LEB128 byte.
    let name = prop_oneof!["[ab]{0,1}", text_of(60)];
    (name, bytes(300)).prop_map(|(name, value)| Header {
        name: name.into(),
        value,
    })
}

fn raw_header() -> impl Strategy<Value = (Bytes, Bytes)> {
    // A lone continuation byte at the end is never UTF-8.
    let name = vec(any::<u8>(), 0..20).prop_map(|mut name| {
        name.push(0x80);
        name
    });
    (name, bytes(40))
        .prop_filter("not text", |(name, _)| std::str::from_utf8(name).is_err())
        .prop_map(|(name, value)| (name.into(), value))
}

prop_compose! {
    fn outgoing()(
        id in text_of(30),
        key in option::of(bytes(50)),
        headers in vec(header(), 0..8),
        raw_headers in vec(raw_header(), 0..3),
        payload in bytes(5000),
        tombstone in any::<bool>(),
        texts in (option::of(text_of(20)), option::of(text_of(20)), option::of(text_of(20))),
        priority in option::of(any::<u8>()),
        ttl_ms in option::of(any::<u32>()),
    ) -> Outgoing {
        Outgoing {
            id: Some(id.into()),
            key,
            headers,
            raw_headers,
            payload: if tombstone { Bytes::new() } else { payload },
            tombstone,
            content_type: texts.0.map(Into::into),
            correlation_id: texts.1.map(Into::into),
            reply_to: texts.2.map(Into::into),
            priority,
            ttl_ms,
            ..Outgoing::default()
        }
    }
}

async fn through_the_file(sent: Vec<Outgoing>) {
    let place = Place::new();
    let broker = place.owner();
    let mut ordered = spec("in", "g");
    ordered.ordered = true;
    let mut reading = Reading::open(&broker, ordered).await;
    publish(&broker, "in", sent.clone()).await;
    let stored = broker.browse("in", 1, sent.len() + 1).await.unwrap();
    let fetched = reading.fetch_all(sent.len()).await;
    assert_eq!(stored.len(), sent.len());
    for ((sent, stored), parcel) in sent.iter().zip(&stored).zip(&fetched) {
        let again = Outgoing {
            ttl_ms: sent.ttl_ms,
            ..stored.to_outgoing()
        };
        assert_eq!(*sent, again);
        assert_eq!(
            stored.expires_at_ms,
            sent.ttl_ms.map(|ttl| stored.published_ms + u64::from(ttl))
        );
        let message = &parcel.message;
        assert!(message.id_stable);
        assert_eq!(Some(&message.id), sent.id.as_ref());
        assert_eq!(message.timestamp_ms, stored.published_ms);
        assert_eq!(message.expires_at_ms, stored.expires_at_ms);
        let raw = message.unrepresentable.as_ref();
        assert_eq!(raw.map_or(&[][..], |raw| &raw.headers), sent.raw_headers);
        assert_eq!(
            (&message.key, &message.headers, &message.payload),
            (&sent.key, &sent.headers, &sent.payload)
        );
        assert_eq!(
            (message.tombstone, message.priority),
            (sent.tombstone, sent.priority)
        );
        assert_eq!(
            (
                &message.content_type,
                &message.correlation_id,
                &message.reply_to
            ),
            (&sent.content_type, &sent.correlation_id, &sent.reply_to)
        );
    }
    broker.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_survives(sent in vec(outgoing(), 1..20)) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
            .block_on(through_the_file(sent));
    }

    #[test]
    fn any_headers_survive(pairs in vec((bytes(200), bytes(20_000)), 0..6)) {
        let encoded = codec::encode(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
        prop_assert_eq!(encoded.is_none(), pairs.is_empty());
        let decoded = codec::decode(&encoded.unwrap_or_default().into());
        prop_assert_eq!(decoded, Some(pairs));
    }

    #[test]
    fn damaged_headers_are_noticed_or_read_but_never_panic(damaged in bytes(64)) {
        if let Some(pairs) = codec::decode(&damaged) {
            let used: usize = pairs.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
            prop_assert!(used <= damaged.len());
        }
    }
}

#[tokio::test]
async fn five_mebibytes_a_thousand_headers_and_nothing_at_all_survive() {
    let large = Outgoing {
        id: Some("large".into()),
        payload: vec![7; 5 << 20].into(),
        ..Outgoing::default()
    };
    let many = Outgoing {
        id: Some("many".into()),
        headers: (0..1000)
            .map(|i| Header::text("same", i.to_string()))
            .collect(),
        ..Outgoing::default()
    };
    let empty = Outgoing {
        id: Some("".into()),
        key: Some(Bytes::new()),
        content_type: Some("".into()),
        ..Outgoing::default()
    };
    through_the_file(vec![large, many, empty]).await;
}

#[tokio::test]
async fn an_id_is_made_where_none_was_given_and_stays() {
    let place = Place::new();
    let broker = place.owner();
    publish(
        &broker,
        "in",
        vec![Outgoing::default(), Outgoing::default()],
    )
    .await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch_all(2).await;
    assert_ne!(found[0].message.id, found[1].message.id);
    reading.release(&found[0], None, 0).await;
    let again = reading.fetch(1).await;
    assert_eq!(again[0].message.id, found[0].message.id);
}

#[tokio::test]
async fn headers_that_another_program_damaged_are_kept_for_the_dead_letter() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other
        .execute("UPDATE messages SET headers = x'7f01'", [])
        .unwrap();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch(1).await;
    let kept = found[0].message.unrepresentable.as_ref().unwrap();
    assert_eq!(kept.headers[0].1, Bytes::from_static(b"\x7f\x01"));
    assert!(matches!(broker.health(), crate::ports::Health::Ready));
}
