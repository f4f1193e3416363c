//! What is written is what is read, by a real server; what cannot be written says whose fault it is.

use bytes::Bytes;
use wharf::broker::kafka::KafkaBroker;
use wharf::config::kafka::{Compression, Kafka};
use wharf::message::{Header, Outgoing};
use wharf::ports::PublishError;

use crate::ground::Ground;
use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn odd_messages_pass_unchanged() {
    let ground = Ground::new("odd", 3).await;
    let mut host = ground.host().await;
    let odd = Outgoing {
        key: Some(Bytes::new()),
        tombstone: true,
        headers: vec![
            Header::text("", ""),
            Header::text("wharf-id", "mine"),
            Header::text("a", "1"),
            Header::text("a", "2"),
        ],
        content_type: Some("x/y".into()),
        partition: Some(2),
        ..Outgoing::default()
    };
    // Names like this one panic in the client's own accessors.
    let raw = vec![(
        Bytes::from_static(b"\xff\xfe"),
        Bytes::from_static(b"\0\x01"),
    )];
    let strange = Outgoing {
        id: Some("strange".into()),
        raw_headers: raw.clone(),
        ..Outgoing::default()
    };
    for result in publish(&host.broker, &ground.topic, [odd.clone(), strange]).await {
        result.expect("published");
    }
    let mut both = host.take(2).await;
    both.sort_by_key(|d| d.message().unrepresentable.is_some());
    let message = both[0].message();
    assert_eq!(message.key, odd.key);
    assert!(message.tombstone);
    assert_eq!(message.headers, odd.headers);
    assert_eq!(message.content_type, odd.content_type);
    assert_eq!(message.origin.partition, Some(2));
    assert_eq!(&*message.id, "odd/2/0");
    let kept = both[1].message().unrepresentable.as_ref();
    assert_eq!(kept.expect("kept").headers, raw);
    host.accept(both).await;
    host.stop().await;
}

/// As it lies at the server: a client that was built without a codec says so only when it is used.
#[tokio::test(flavor = "multi_thread")]
async fn every_compression_is_one_that_kafka_reads() {
    for (compression, codec) in [
        (Compression::None, 0),
        (Compression::Gzip, 1),
        (Compression::Snappy, 2),
        (Compression::Lz4, 3),
        (Compression::Zstd, 4),
    ] {
        let name = compression.as_str();
        let ground = Ground::new(&format!("compressed-{name}"), 1).await;
        let kafka = Kafka {
            compression,
            ..ground.kafka()
        };
        let broker = KafkaBroker::open("bus", &kafka).expect("a good configuration");
        let messages = (0..50).map(|n| Outgoing {
            payload: format!("{n} ").repeat(200).into(),
            ..Outgoing::default()
        });
        for result in publish(&broker, &ground.topic, messages).await {
            result.expect("published");
        }
        let topic = ground.topic.clone();
        let read = move || {
            let mut reader = broker.reader(&topic).expect("a reader");
            reader.next(usize::MAX).expect("read")
        };
        let read = tokio::task::spawn_blocking(read).await.expect("read");
        assert_eq!(read.len(), 50, "{name}");
        for (n, message) in read.iter().enumerate() {
            assert_eq!(message.payload, format!("{n} ").repeat(200), "{name}");
        }
        // The lowest bits of a batch's attributes (<https://kafka.apache.org/documentation/#recordbatch>).
        let segment = ground.server.segment(&ground.topic, 0);
        let batch = std::fs::read(segment).expect("a segment");
        assert_eq!(batch[22] & 7, codec, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_or_has_no_place_is_at_fault_and_harms_no_other() {
    let ground = Ground::new("too-large", 1).await;
    let broker = ground.broker();
    let large = Outgoing {
        payload: vec![0; 3 << 20].into(),
        ..Outgoing::default()
    };
    let nowhere = Outgoing {
        partition: Some(7),
        ..Outgoing::default()
    };
    let results = publish(
        &broker,
        &ground.topic,
        [numbered(0), large, nowhere, numbered(1)],
    )
    .await;
    let message = |r: &Result<(), PublishError>| matches!(r, Err(PublishError::Message(_)));
    assert!(results[0].is_ok() && results[3].is_ok(), "{results:?}");
    assert!(message(&results[1]) && message(&results[2]), "{results:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_where_a_producer_in_java_puts_it() {
    let ground = Ground::new("murmur", 8).await;
    let keys: Vec<String> = (0..40).map(|n| format!("customer-{n}")).collect();
    let lines: String = keys.iter().map(|key| format!("{key}\tjava\n")).collect();
    let words = [
        "--topic",
        &*ground.topic,
        "--reader-property",
        "parse.key=true",
    ];
    ground.server.tool("ConsoleProducer", &words, &lines).await;
    let mut host = ground.host().await;
    let ours = keys.iter().map(|key| Outgoing {
        key: Some(Bytes::from(key.clone())),
        payload: "ours".into(),
        ..Outgoing::default()
    });
    for result in publish(&host.broker, &ground.topic, ours).await {
        result.expect("published");
    }
    let all = host.take(80).await;
    let mut places: Vec<(Bytes, u32)> = all
        .iter()
        .map(|d| {
            let message = d.message();
            let key = message.key.clone().expect("a key");
            (key, message.origin.partition.expect("a partition"))
        })
        .collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), keys.len(), "one partition for each key");
    host.accept(all).await;
    host.stop().await;
}
