//! What is read, how much of it, and what a message says.

use std::time::Duration;

use async_nats::jetstream::stream;
use tokio::time::Instant;
use wharf::ports::{Broker, Health, Lag, Room, SubscriptionSpec};
use wharf_tests::nats_server::NatsServer;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_read_as_it_was_published_and_accepted_for_good() {
    let server = server().await;
    let headers = headers(&[("content-type", "text/plain"), ("a", "1"), ("a", "2")]);
    server
        .publish_with("orders.eu", headers, "hello".into())
        .await;
    let mut host = host(&server).await;
    let taken = host.take(1).await;
    let m = taken[0].message();
    assert_eq!((&*m.topic, &m.payload[..]), ("orders.eu", &b"hello"[..]));
    assert_eq!((&*m.origin.source, &*m.origin.position), ("ORDERS", "1"));
    assert_eq!(m.origin.group.as_deref(), Some("billing"));
    assert_eq!(m.content_type.as_deref(), Some("text/plain"));
    let values: Vec<_> = m.headers.iter().map(|h| &h.value[..]).collect();
    assert_eq!(values, [b"1", b"2"]);
    assert_eq!((m.deliveries, m.attempts, m.id_stable), (1, 0, true));
    assert!(m.timestamp_ms > 1_700_000_000_000);
    host.accept(taken).await;
    nothing_left(&server).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_read_in_order_and_none_twice() {
    const MANY: usize = 3000;
    let server = server().await;
    let context = server.jetstream().await;
    for n in 0..MANY {
        let sent = context.publish("orders.eu", n.to_string().into()).await;
        // The last one's confirmation is that of all.
        let confirm = sent.expect("published");
        if n == MANY - 1 {
            confirm.await.expect("confirmed");
        }
    }
    let mut host = host(&server).await;
    let mut seen = Vec::new();
    while seen.len() < MANY {
        let taken = host.take(1).await;
        let number = |p: &[u8]| {
            String::from_utf8_lossy(p)
                .parse::<usize>()
                .expect("a number")
        };
        seen.extend(taken.iter().map(|d| number(&d.message().payload)));
        host.accept(taken).await;
        if seen.len() == 100 {
            let lag = host.broker.lag(&spec()).await.expect("asked");
            assert_eq!(lag.waiting + lag.pending, (MANY - 100) as u64, "{lag:?}");
        }
    }
    assert_eq!(seen, (0..MANY).collect::<Vec<_>>());
    nothing_left(&server).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_handles_nothing_takes_no_more_than_it_asked_for() {
    let server = server().await;
    for n in 0..300 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let mut host = host(&server).await;
    let held = host.take(10).await;
    let full = Lag {
        waiting: 190,
        pending: 110,
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lag = host.broker.lag(&spec()).await.expect("asked");
        assert!(lag.pending <= 110, "{lag:?}");
        if lag == full {
            break;
        }
        assert!(Instant::now() < deadline, "{lag:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    host.accept(held).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_come_alone_where_they_fill_the_room() {
    let server = server().await;
    let large = "x".repeat(900_000);
    for _ in 0..20 {
        server.publish("orders.eu", &large).await;
    }
    let mut host = host(&server).await;
    for _ in 0..20 {
        let small = Room {
            messages: 10,
            bytes: 1000,
        };
        let taken = host.source.fetch(small).await.expect("fetched");
        assert_eq!(taken.len(), 1);
        host.accept(taken).await;
    }
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_larger_than_a_request_is_asked_for_alone() {
    let server = wharf_tests::nats_server::NatsServer::start_with("max_payload: 20MB").await;
    server.stream(STREAM, &SUBJECTS).await;
    server.publish("orders.eu", "before").await;
    server.publish("orders.eu", &"x".repeat(12 << 20)).await;
    server.publish("orders.eu", "after").await;
    let mut host = host(&server).await;
    let taken = host.take(3).await;
    let mut sizes: Vec<_> = taken.iter().map(|d| d.message().payload.len()).collect();
    sizes.sort();
    assert_eq!(sizes, [5, 6, 12 << 20]);
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_begins_late_reads_only_what_comes_then() {
    let server = server().await;
    server.publish("orders.eu", "old").await;
    let late = SubscriptionSpec {
        from_start: false,
        ..spec()
    };
    let mut host = host_with(config(&server.url()), late).await;
    host.ready().await;
    server.publish("orders.eu", "new").await;
    let taken = host.take(1).await;
    assert_eq!(payloads(&taken), ["new"]);
    host.accept(taken).await;
}

/// A server whose stream gives each message to one consumer, and forgets it then.
async fn work_queue() -> NatsServer {
    let server = NatsServer::start().await;
    server
        .stream_with(stream::Config {
            name: STREAM.into(),
            subjects: vec!["orders.>".into()],
            retention: stream::RetentionPolicy::WorkQueue,
            ..stream::Config::default()
        })
        .await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_queue_is_emptied() {
    let server = work_queue().await;
    for n in 0..20 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let mut host = host(&server).await;
    let taken = host.take(20).await;
    host.accept(taken).await;
    nothing_left(&server).await;
    assert_eq!(server.held(STREAM).await, Some(0));
    assert_eq!(host.broker.health(), Health::Ready);
}

/// NATS lets two consumers share a work queue where their filters do not overlap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_passes_the_filter_is_read() {
    let server = work_queue().await;
    for subject in ["orders.eu", "orders.us", "orders.asia", "orders.eu.new"] {
        server.publish(subject, subject).await;
    }
    let of = |group: &str, filters: &[&str]| SubscriptionSpec {
        plugin: group.into(),
        group: group.into(),
        filters: filters.iter().map(|one| (*one).into()).collect(),
        ..spec()
    };
    let eu = of("eu", &["orders.eu", "orders.eu.>"]);
    let mut first = host_with(config(&server.url()), eu.clone()).await;
    let mut second = host_with(config(&server.url()), of("us", &["orders.us"])).await;
    let taken = first.take(2).await;
    assert_eq!(payloads(&taken), ["orders.eu", "orders.eu.new"]);
    first.accept(taken).await;
    let taken = second.take(1).await;
    assert_eq!(payloads(&taken), ["orders.us"]);
    second.accept(taken).await;
    assert_eq!(server.held(STREAM).await, Some(1), "nobody reads Asia");
    let lag = first.broker.lag(&eu).await.expect("asked");
    assert_eq!((lag.waiting, lag.pending), (0, 0));
    first.stop().await;

    // Another filter holds for what comes from then on.
    let asia = of("eu", &["orders.asia"]);
    let mut first = host_with(config(&server.url()), asia).await;
    first.ready().await;
    server.publish("orders.eu", "late").await;
    server.publish("orders.asia", "new").await;
    let taken = first.take(1).await;
    assert_eq!(payloads(&taken), ["new"]);
    first.accept(taken).await;
    let more = first.within(Duration::from_millis(200), 9).await;
    assert_eq!(payloads(&more), [""; 0]);
}
