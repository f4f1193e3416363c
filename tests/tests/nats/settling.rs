//! Released messages come again, with their attempts, when they should, and in nobody's way.

use std::time::Duration;

use async_nats::jetstream::stream;
use tokio::time::Instant;
use wharf::config::nats::Nats;
use wharf::ports::{Broker, SettleError};
use wharf_tests::proxy::Proxy;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_message_waits_and_comes_back_as_it_was() {
    let server = server().await;
    let headers = headers(&[("Nats-Msg-Id", "n-1"), ("trace", "x"), ("wharf-key", "k")]);
    server
        .publish_with("orders.eu", headers, "late".into())
        .await;
    let mut host = host(&server).await;
    let first = host.take(1).await;
    let before = first[0].message().clone();
    let wait = Duration::from_millis(1400);
    let parked = Instant::now();
    all_well(host.settle(first, release(Some(wait), 1)).await);

    // It is in nobody's way.
    server.publish("orders.eu", "fresh").await;
    let fresh = host.take(1).await;
    assert_eq!(payloads(&fresh), ["fresh"]);
    assert!(parked.elapsed() < wait);
    host.accept(fresh).await;
    let lag = host.broker.lag(&spec()).await.expect("asked");
    assert_eq!(lag.waiting + lag.pending, 1, "{lag:?}");

    let again = host.take(1).await;
    assert!(parked.elapsed() >= wait, "{:?}", parked.elapsed());
    let mut after = again[0].message().clone();
    assert_eq!((after.attempts, after.deliveries), (1, 1));
    assert_eq!(after.first_failed_ms, Some(1_786_000_000_000));
    (after.attempts, after.first_failed_ms) = (0, None);
    assert_eq!(after, before);
    host.accept(again).await;
    nothing_left(&server).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_delivery_comes_again_and_charges_nothing() {
    let server = server().await;
    server.publish("orders.eu", "a").await;
    let mut host = host(&server).await;
    for _ in 0..3 {
        let taken = host.take(1).await;
        let m = taken[0].message();
        assert_eq!((m.attempts, m.deliveries), (0, 1));
        drop(taken);
        all_well(host.settle_inbox().await);
    }
    let taken = host.take(1).await;
    host.accept(taken).await;
    nothing_left(&server).await;
}

/// Retries in their delay, many more of them than the consumer may have in hand, stop nothing that is fresh.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_retries_starves_nobody() {
    let server = server().await;
    let few = Nats {
        max_ack_pending: 10,
        ..config(&server.url())
    };
    let mut host = host_with(few, spec()).await;
    for n in 0..50 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    for _ in 0..50 {
        let taken = host.take(1).await;
        let later = release(Some(Duration::from_secs(4)), 1);
        all_well(host.settle(taken, later).await);
    }
    let stormy = Instant::now();
    server.publish("orders.eu", "fresh").await;
    let fresh = host.take(1).await;
    assert_eq!(payloads(&fresh), ["fresh"]);
    assert!(stormy.elapsed() < Duration::from_secs(2), "{stormy:?}");
    host.accept(fresh).await;
    for _ in 0..50 {
        let taken = host.take(1).await;
        assert_eq!(taken[0].message().attempts, 1);
        host.accept(taken).await;
    }
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_everything_and_counts_nothing() {
    let server = server().await;
    for n in 0..40 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let mut first = host(&server).await;
    let held = first.take(5).await;
    drop(held);
    first.stop().await;
    // At once, not when the server's patience is over.
    let left = Instant::now();
    let mut second = host(&server).await;
    let taken = second.take(40).await;
    assert!(left.elapsed() < Duration::from_secs(10));
    let counted = taken.iter().filter(|d| d.message().deliveries != 1);
    assert_eq!(counted.count(), 0);
    second.accept(taken).await;
    second.stop().await;
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_outlive_hosts() {
    let server = server().await;
    server.publish("orders.eu", "a").await;
    for expected in 0..3 {
        let mut host = host(&server).await;
        let taken = host.take(1).await;
        let m = taken[0].message();
        assert_eq!((m.attempts, m.deliveries), (expected, 1));
        assert_eq!(m.origin.position, "1");
        let again = release(Some(Duration::from_millis(200)), expected + 1);
        all_well(host.settle(taken, again).await);
        host.stop().await;
    }
    let mut host = host(&server).await;
    let taken = host.take(1).await;
    assert_eq!(taken[0].message().attempts, 3);
    host.accept(taken).await;
    nothing_left(&server).await;
}

/// The stream it is to wait in takes nothing just now: it stays in hand, and is put there once that does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_wait_yet_stays_in_hand() {
    let server = server().await;
    server.publish("orders.eu", "a").await;
    let mut host = host(&server).await;
    let taken = host.take(1).await;
    let context = server.jetstream().await;
    let own = context.get_stream(RETRY).await.expect("its own stream");
    let as_it_was = own.cached_info().config.clone();
    let small = stream::Config {
        max_message_size: 1,
        ..as_it_was.clone()
    };
    context.update_stream(small).await.expect("changed");
    drop(taken);
    let batch = host.ended();
    let refused = host.settler.settle(&batch).await;
    assert!(
        matches!(refused[..], [Err(SettleError::Unavailable(_))]),
        "{refused:?}"
    );
    let depth = server.depth(STREAM, "billing").await.expect("a consumer");
    assert_eq!(depth.pending, 1, "nothing was settled");
    context.update_stream(as_it_was).await.expect("changed");
    all_well(host.settler.settle(&batch).await);
    let again = host.take(1).await;
    host.accept(again).await;
    nothing_left(&server).await;
}

/// Each host that dies with a message in hand is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_is_counted() {
    let server = server().await;
    server.publish("orders.eu", "a").await;
    for expected in 1..=3 {
        let proxy = Proxy::start(server.port()).await;
        let url = wharf_tests::nats_server::NatsServer::url_by(proxy.port());
        let mut host = host_with(impatient(&url), spec()).await;
        let taken = host.take(1).await;
        assert_eq!(taken[0].message().deliveries, expected);
        if expected == 3 {
            host.accept(taken).await;
        } else {
            host.kill(proxy).await;
        }
    }
    nothing_left(&server).await;
}
