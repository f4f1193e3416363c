//! Released messages come again, with their attempts, when they should, and in nobody's way.

use std::time::Duration;

use lapin::types::AMQPValue;
use tokio::time::Instant;
use wharf::ports::Broker;
use wharf_tests::rabbit_server::{Depth, RabbitServer};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_message_waits_and_comes_back_as_it_was() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        let properties = persistent()
            .with_user_id("guest".into())
            .with_headers(table(&[("n", AMQPValue::LongInt(3))]));
        publish(&channel, queue, "late", properties).await;
        let mut host = host(&server.url(), queue, kind).await;
        let first = host.take(1).await;
        let before = first[0].message().clone();
        let parked = Instant::now();
        let wait = Duration::from_millis(1400);
        for result in host.settle(first, release(Some(wait), 1)).await {
            result.expect("released");
        }

        // It is in nobody's way.
        publish(&channel, queue, "fresh", persistent()).await;
        let fresh = host.take(1).await;
        assert_eq!(payloads(&fresh), ["fresh"]);
        assert!(parked.elapsed() < wait);
        host.accept(fresh).await;
        let lag = host.broker.lag(&spec(queue)).await.expect("asked");
        assert_eq!((lag.waiting, lag.pending), (0, 1));

        let again = host.take(1).await;
        assert!(parked.elapsed() >= wait, "{:?}", parked.elapsed());
        let after = again[0].message();
        assert_eq!(after.attempts, 1);
        assert_eq!(after.first_failed_ms, Some(1_786_000_000_000));
        assert_eq!((&after.id, after.deliveries), (&before.id, 1));
        assert_eq!(
            (&after.topic, &after.payload),
            (&before.topic, &before.payload)
        );
        assert_eq!(after.headers, before.headers);
        host.accept(again).await;
        nothing_left(&server, queue).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_delivery_comes_again_and_charges_nothing() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        publish(&channel, queue, "a", persistent()).await;
        let mut host = host(&server.url(), queue, kind).await;
        for _ in 0..3 {
            let taken = host.take(1).await;
            let m = taken[0].message();
            assert_eq!((m.attempts, m.deliveries), (0, 1));
            drop(taken);
            for result in host.settle_inbox().await {
                result.expect("released");
            }
        }
        let taken = host.take(1).await;
        host.accept(taken).await;
        nothing_left(&server, queue).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_everything_and_counts_nothing() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        for n in 0..20 {
            publish(&channel, queue, &n.to_string(), persistent()).await;
        }
        let mut first = host(&server.url(), queue, kind).await;
        let held = first.take(5).await;
        drop(held);
        first.stop().await;

        let mut second = host(&server.url(), queue, kind).await;
        let taken = second.take(20).await;
        assert_eq!(payloads(&taken).len(), 20);
        let counted = taken.iter().filter(|d| d.message().deliveries != 1);
        assert_eq!(counted.count(), 0, "{kind:?}");
        second.accept(taken).await;
        second.stop().await;
        nothing_left(&server, queue).await;
    }
}

/// Each host that dies with a message in hand is counted, on both kinds of queues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_is_counted() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        publish(&channel, queue, "a", persistent()).await;
        for expected in 1..=4 {
            let mut host = host(&server.url(), queue, kind).await;
            let taken = host.take(1).await;
            assert_eq!(taken[0].message().deliveries, expected, "{kind:?}");
            if expected == 4 {
                host.accept(taken).await;
            } else {
                // Gone without a word about it.
                host.broker.close().await;
            }
        }
        nothing_left(&server, queue).await;
    }
}

/// What waits is counted over a lost connection, and by another host once something has come out of where it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_counted_by_whoever_knows_where() {
    let server = RabbitServer::shared().await;
    let proxy = wharf_tests::proxy::Proxy::start(server.port()).await;
    let queue = &*queue_of(&server, KINDS[0]).await;
    let (_connection, channel) = server.client().await;
    publish(&channel, queue, "soon", persistent()).await;
    publish(&channel, queue, "late", persistent()).await;
    let url = RabbitServer::url_by(proxy.port());
    let mut host = self::host(&url, queue, KINDS[0]).await;
    let mut taken = host.take(2).await;
    // It reads by one connection, and puts aside by another.
    host.ready().await;
    let waits = |ms| release(Some(Duration::from_millis(ms)), 1);
    for result in host.settle(taken.split_off(1), waits(600_000)).await {
        result.expect("released");
    }
    for result in host.settle(taken, waits(1500)).await {
        result.expect("released");
    }
    // What says that they left the queue has no answer: cut with it under way, they would be in both places for good.
    let left = |d: Depth| d.ready == 0 && d.unacked == 0;
    server.until(queue, left).await;
    proxy.cut();
    until("the cut is seen", || {
        host.broker.health() != wharf::ports::Health::Ready
    })
    .await;
    host.ready().await;
    counts(&host, queue, 2).await;
    // It knows of one of the two places now.
    let mut other = self::host(&server.url(), queue, KINDS[0]).await;
    other.ready().await;
    host.stop().await;
    let back = other.take(1).await;
    assert_eq!(payloads(&back), ["soon"]);
    for result in other.settle(back, waits(1500)).await {
        result.expect("released");
    }
    counts(&other, queue, 1).await;
    let back = other.take(1).await;
    other.accept(back).await;
}

/// So many are counted in the end. The server is asked about one place after the other: what goes from one to the next
/// meanwhile is in neither, or in both.
async fn counts(host: &Host, queue: &str, expected: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lag = host.broker.lag(&spec(queue)).await.expect("asked");
        if lag.waiting + lag.pending == expected {
            return;
        }
        assert!(Instant::now() < deadline, "not {expected}: {lag:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Many large messages are not all asked for at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_read_ahead_than_the_window_has_bytes_for() {
    const LARGE: usize = 64 << 10;
    const ALL: usize = 240;
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        let large = "x".repeat(LARGE);
        for _ in 0..ALL {
            publish(&channel, queue, &large, persistent()).await;
        }
        let mut host = host(&server.url(), queue, kind).await;
        // Room for four of them; the server may keep as many ready again.
        let room = wharf::ports::Room {
            messages: 100,
            bytes: 4 * LARGE,
        };
        let mut done = 0;
        // Until their size is known and another consumer reads, up to 128 come as if they were small.
        while done < 200 {
            let taken = host.source.fetch(room).await.expect("fetched");
            done += taken.len();
            host.accept(taken).await;
        }
        let left = (ALL - done) as u64;
        server
            .until(queue, |d| d.unacked <= 16 && d.ready + d.unacked == left)
            .await;
        while done < ALL {
            let taken = host.source.fetch(room).await.expect("fetched");
            done += taken.len();
            host.accept(taken).await;
        }
        host.stop().await;
        nothing_left(&server, queue).await;
    }
}
