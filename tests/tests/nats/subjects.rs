//! Subjects outside of streams: at most once, counted where it is less; requests and their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::Instant;
use wharf::commit::{Destination, Publication, Settlement};
use wharf::message::Outgoing;
use wharf::place::PlaceKind;
use wharf::ports::{Broker, Ordering};
use wharf_tests::nats_server::NatsServer;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_with_wildcards_is_read_and_says_so() {
    let server = NatsServer::start().await;
    let mut host = host_with(config(&server.url()), subject("orders.*.new", "billing")).await;
    host.ready().await;
    let client = server.client().await;
    client.flush().await.expect("flushed");
    for to in ["orders.eu.new", "orders.eu.old", "orders.us.new"] {
        client.publish(to, to.into()).await.expect("published");
    }
    let taken = host.take(2).await;
    assert_eq!(payloads(&taken), ["orders.eu.new", "orders.us.new"]);
    let m = taken[0].message();
    assert_eq!(
        (&*m.topic, &*m.origin.source),
        ("orders.eu.new", "orders.*.new")
    );
    assert!(!m.id_stable && !m.id.is_empty());
    assert_eq!((m.deliveries, m.reply_to.as_deref()), (0, None));
    host.accept(taken).await;
    host.stop().await;
}

#[test]
fn the_table_says_that_nothing_comes_again() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let broker = wharf::broker::nats::NatsBroker::open("bus", &config("nats://127.0.0.1:9"));
        let broker = broker.expect("a good configuration");
        let core = broker.capabilities(PlaceKind::Subject);
        assert!(!core.redelivers && !core.delays && !core.keeps_attempts);
        assert!(!core.counts_deliveries && core.orders == Ordering::None);
        let stream = broker.capabilities(PlaceKind::Stream);
        assert!(stream.redelivers && stream.delays && stream.keeps_attempts);
        assert!(stream.counts_deliveries && stream.orders == Ordering::None);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_group_has_each_message_once_and_every_group_has_it() {
    let server = NatsServer::start().await;
    let url = server.url();
    let mut one = host_with(config(&url), subject("orders.>", "billing")).await;
    let mut other = host_with(config(&url), subject("orders.>", "billing")).await;
    let mut third = host_with(config(&url), subject("orders.>", "audit")).await;
    for host in [&one, &other, &third] {
        host.ready().await;
    }
    let client = server.client().await;
    // The servers knows of the subscriptions once it has answered what came after them.
    for host in [&one, &other, &third] {
        assert_eq!(host.publish(&[]).await, []);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for n in 0..200 {
        let to = format!("orders.{n}");
        client
            .publish(to, n.to_string().into())
            .await
            .expect("published");
    }
    client.flush().await.expect("flushed");
    let all = third.take(200).await;
    third.accept(all).await;
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let mut shares = [0, 0];
    while seen.len() < 200 {
        assert!(Instant::now() < deadline, "{} came", seen.len());
        for (host, share) in [&mut one, &mut other].into_iter().zip(&mut shares) {
            let taken = host.within(Duration::from_millis(50), 50).await;
            *share += taken.len();
            seen.extend(payloads(&taken));
            host.accept(taken).await;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 200);
    assert!(shares[0] > 0 && shares[1] > 0, "{shares:?}");
    assert_eq!(one.broker.lost() + other.broker.lost(), 0);
}

/// Nobody fetches: what does not fit is dropped, and every message is either handed over or counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_too_fast_is_dropped_and_counted() {
    const MANY: u64 = 20_000;
    let server = NatsServer::start().await;
    let mut host = host_with(config(&server.url()), subject("flood", "billing")).await;
    host.ready().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = server.client().await;
    for _ in 0..MANY {
        client
            .publish("flood", Bytes::from_static(b"x"))
            .await
            .expect("published");
    }
    client.flush().await.expect("flushed");
    let deadline = Instant::now() + PATIENCE;
    while host.broker.lost() < MANY - 8192 {
        assert!(
            Instant::now() < deadline,
            "{} were lost",
            host.broker.lost()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lag = host
        .broker
        .lag(&subject("flood", "billing"))
        .await
        .expect("asked");
    assert_eq!(lag.waiting, 8192);
    let taken = host.take(8192).await;
    assert_eq!(taken.len() as u64 + host.broker.lost(), MANY);
    // What is given back is lost, and counted.
    let before = host.broker.lost();
    all_well(host.settle(taken, release(None, 0)).await);
    assert_eq!(host.broker.lost(), before + 8192);
}

/// What was read and not handed over when the host stops has nobody to be given back to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stop_finds_is_lost_and_counted() {
    let server = NatsServer::start().await;
    let spec = subject("news", "billing");
    let mut host = host_with(config(&server.url()), spec.clone()).await;
    host.ready().await;
    let client = server.client().await;
    for _ in 0..10 {
        let said = client.publish("news", Bytes::from_static(b"x")).await;
        said.expect("published");
    }
    client.flush().await.expect("flushed");
    let deadline = Instant::now() + PATIENCE;
    while host.broker.lag(&spec).await.expect("asked").waiting < 10 {
        assert!(Instant::now() < deadline, "they do not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let taken = host.take(3).await;
    host.source.stop().await;
    assert_eq!(host.broker.lost(), 7);
    host.accept(taken).await;
    assert_eq!(host.broker.lost(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered() {
    let server = NatsServer::start().await;
    let mut host = host_with(config(&server.url()), subject("prices", "billing")).await;
    host.ready().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = server.client().await;
    let asked = tokio::spawn(async move { client.request("prices", "tea".into()).await });
    let taken = host.take(1).await;
    let to = taken[0]
        .message()
        .reply_to
        .clone()
        .expect("where to answer");
    let reply = Publication {
        destination: Arc::new(Destination::new("reply", "bus", PlaceKind::Subject, &*to)),
        message: Outgoing {
            destination: "reply".into(),
            payload: "3.50".into(),
            content_type: Some("text/plain".into()),
            ..Outgoing::default()
        },
    };
    assert_eq!(host.publish(&[reply]).await, [Ok(())]);
    host.accept(taken).await;
    let answer = asked.await.expect("asked").expect("answered");
    assert_eq!(&answer.payload[..], b"3.50");
    let kind = answer.headers.as_ref().and_then(|h| h.get("content-type"));
    assert_eq!(kind.map(|v| v.as_str()), Some("text/plain"));
}

/// A subscription comes back with its connection, and nothing is handed over twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_is_read_again_after_a_restart() {
    let mut server = NatsServer::start().await;
    let mut host = host_with(config(&server.url()), subject("orders", "billing")).await;
    host.ready().await;
    server.restart().await;
    let client = server.client().await;
    let deadline = Instant::now() + PATIENCE;
    let taken = loop {
        client
            .publish("orders", "a".into())
            .await
            .expect("published");
        let taken = host.within(Duration::from_millis(100), 1).await;
        if !taken.is_empty() {
            break taken;
        }
        assert!(Instant::now() < deadline, "{:?}", host.broker.health());
    };
    let results = host.settle(taken, Settlement::Accept).await;
    all_well(results);
    host.ready().await;
    let listened = client.subscribe("elsewhere").await.expect("subscribed");
    drop(listened.take(0).collect::<Vec<_>>().await);
}
