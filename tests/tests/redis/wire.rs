//! What is written is what is read, by a real server.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use wharf::commit::{Destination, Publication};
use wharf::message::{Header, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{Broker, PayloadFrom};
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

/// Names that are read as something else unless escaped, and any others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("payload".to_owned()),
        Just("body".to_owned()),
        Just("wharf-id".to_owned()),
        Just("wharf-tombstone".to_owned()),
        Just("wharf-header:wharf-id".to_owned()),
        Just("content-type".to_owned()),
        Just(String::new()),
        ".{0,12}",
    ]
}

fn data() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = ByteString> {
    ".{0,16}".prop_map(ByteString::from)
}

prop_compose! {
    fn outgoing()(
        id in ".{1,16}",
        key in proptest::option::of(data()),
        headers in proptest::collection::vec((name(), data()), 0..6),
        payload in data(),
        tombstone in any::<bool>(),
        content_type in proptest::option::of(text()),
        correlation_id in proptest::option::of(text()),
        reply_to in proptest::option::of(text()),
        priority in proptest::option::of(any::<u8>()),
    ) -> Outgoing {
        Outgoing {
            destination: "out".into(),
            id: Some(id.into()),
            key,
            headers: headers
                .into_iter()
                .map(|(name, value)| Header { name: name.into(), value })
                .collect(),
            payload: if tombstone { Bytes::new() } else { payload },
            tombstone,
            content_type,
            correlation_id,
            reply_to,
            priority,
            ..Outgoing::default()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_survives_the_way_there_and_back() {
    let server = RedisServer::start().await;
    let host = Arc::new(host(&server.url()).await.broker);
    let publisher = host.publisher();
    let handle = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
        let field = prop_oneof![Just("payload"), Just("body"), Just("wharf-id2")];
        runner
            .run(&(outgoing(), field), |(out, field)| {
                let publication = Publication {
                    destination: Arc::new(Destination {
                        payload_field: Some(field.into()),
                        ..Destination::new("out", "events", PlaceKind::Stream, "there")
                    }),
                    message: out.clone(),
                };
                let read = handle.block_on(async {
                    let after = host.end("there").await.expect("asked");
                    let sent = publisher.publish(&[&publication]).await;
                    assert_eq!(sent, [Ok(())]);
                    let from = PayloadFrom::Field(field.into());
                    host.browse("there", &from, Some(&after), 10)
                        .await
                        .expect("read")
                });
                prop_assert_eq!(read.len(), 1);
                let m = &read[0];
                prop_assert_eq!(Some(&m.id), out.id.as_ref());
                prop_assert_eq!(&m.key, &out.key);
                prop_assert_eq!(&m.headers, &out.headers);
                prop_assert_eq!(&m.payload, &out.payload);
                prop_assert_eq!(m.tombstone, out.tombstone);
                prop_assert_eq!(&m.content_type, &out.content_type);
                prop_assert_eq!(&m.correlation_id, &out.correlation_id);
                prop_assert_eq!(&m.reply_to, &out.reply_to);
                prop_assert_eq!(m.priority, out.priority);
                prop_assert!(m.unrepresentable.is_none());
                Ok(())
            })
            .expect("survived");
    })
    .await
    .expect("ran");
}

#[tokio::test]
async fn a_plain_entry_of_any_client_is_read() {
    let server = RedisServer::start().await;
    server
        .command(&format!(
            r#"XADD {STREAM} 1700000000000-5 trace abc payload {{"a":1}} trace def"#
        ))
        .await;
    let mut host = host(&server.url()).await;
    let taken = host.take(1).await;
    let message = taken[0].message();
    assert_eq!(&message.payload[..], br#"{"a":1}"#);
    assert_eq!(
        message.headers,
        [Header::text("trace", "abc"), Header::text("trace", "def")]
    );
    assert_eq!(&*message.id, "1700000000000-5");
    assert_eq!(message.timestamp_ms, 1_700_000_000_000);
    assert_eq!(message.origin.group.as_deref(), Some(GROUP));
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_whole_entry_can_be_the_payload() {
    let server = RedisServer::start().await;
    server
        .command(&format!("XADD {STREAM} * user 7 tag a tag b"))
        .await;
    let mut whole = spec();
    whole.payload = PayloadFrom::Entry;
    let mut host = host_with(options(&server.url()), whole).await;
    let taken = host.take(1).await;
    let json: serde_json::Value = serde_json::from_slice(&taken[0].message().payload).unwrap();
    assert_eq!(json, serde_json::json!({"user": "7", "tag": ["a", "b"]}));
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_field_name_that_is_not_text_is_carried_to_the_dead_letter() {
    let server = RedisServer::start().await;
    let mut client = server.client().await;
    let mut cmd = redis::cmd("XADD");
    cmd.arg(STREAM)
        .arg("*")
        .arg(b"\xff\xfe")
        .arg("v")
        .arg("payload")
        .arg("p");
    let _id: String = cmd.query_async(&mut client).await.unwrap();
    let mut host = host(&server.url()).await;
    let taken = host.take(1).await;
    let strange = taken[0].message().unrepresentable.clone().expect("named");
    let results = host
        .commit(taken, |p| {
            let mut out = to("dlq", p.message.payload.clone());
            out.message.raw_headers.clone_from(&strange.headers);
            vec![out]
        })
        .await;
    assert_eq!(results, [wharf::ports::Committed::Done]);
    let raw: Vec<(String, Vec<Vec<u8>>)> = redis::cmd("XRANGE")
        .arg("dlq")
        .arg("-")
        .arg("+")
        .query_async(&mut client)
        .await
        .unwrap();
    assert!(
        raw[0]
            .1
            .windows(2)
            .any(|w| w[0] == b"\xff\xfe" && w[1] == b"v"),
        "{raw:?}"
    );
    nothing_left(&server).await;
}
