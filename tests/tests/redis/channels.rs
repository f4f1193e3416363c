//! Channels and patterns: at most once, counted where it can be, and listened to again after a loss.

use std::time::Duration;

use redis::Value;
use wharf::commit::Settlement;
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, Health, SubscriptionSpec};
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

fn of(kind: PlaceKind, address: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        kind,
        address: address.into(),
        ..spec()
    }
}

async fn listener(server: &RedisServer, kind: PlaceKind, address: &str) -> Host {
    let host = host_with(options(&server.url()), of(kind, address)).await;
    until("it listens", || async {
        host.broker.health() == Health::Ready
    })
    .await;
    host
}

async fn say(server: &RedisServer, channel: &str, numbers: std::ops::Range<u32>) {
    let mut pipe = redis::pipe();
    for n in numbers {
        pipe.cmd("PUBLISH").arg(channel).arg(n);
    }
    let _heard: Vec<i64> = pipe
        .query_async(&mut server.client().await)
        .await
        .expect("published");
}

#[tokio::test]
async fn every_host_hears_everything_in_order() {
    let server = RedisServer::start().await;
    let mut one = listener(&server, PlaceKind::Channel, "news").await;
    let mut other = listener(&server, PlaceKind::Pattern, "n?ws").await;
    say(&server, "news", 0..100).await;
    for host in [&mut one, &mut other] {
        let taken = host.take(100).await;
        let read: Vec<_> = taken.iter().map(|d| d.message().payload.clone()).collect();
        let wanted: Vec<_> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(read, wanted);
        let first = taken[0].message();
        assert_eq!(
            (&*first.topic, first.id_stable, first.deliveries),
            ("news", false, 0)
        );
        let settled = host.settle(taken, Settlement::Accept).await;
        assert_eq!(settled, vec![Ok(()); 100]);
        assert_eq!(host.broker.unheard(), 0);
    }
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn what_is_given_back_is_lost_and_counted() {
    let server = RedisServer::start().await;
    let mut host = listener(&server, PlaceKind::Channel, "news").await;
    say(&server, "news", 0..5).await;
    let taken = host.take(5).await;
    host.release(taken, None, 1).await;
    assert_eq!(host.broker.unheard(), 5);
    let again = host.take_within(Duration::from_millis(200)).await;
    assert!(again.is_empty(), "{again:?}");
}

/// Nobody fetches: so many are kept as are said to be, the others are dropped and counted.
#[tokio::test]
async fn what_comes_too_fast_is_dropped_and_counted() {
    let server = RedisServer::start().await;
    let mut host = listener(&server, PlaceKind::Channel, "news").await;
    for start in 0..10 {
        say(&server, "news", start * 1000..(start + 1) * 1000).await;
    }
    until("the others are lost", || async {
        host.broker.unheard() == 10_000 - 8192
    })
    .await;
    let kept = host.take(8192).await;
    assert_eq!(kept.len(), 8192);
    assert_eq!(payloads(&kept), numbers(0..8192), "the first to come");
}

/// What was heard and not handed over when the host stops has nobody to be given back to.
#[tokio::test]
async fn what_a_stop_finds_is_lost_and_counted() {
    let server = RedisServer::start().await;
    let mut host = listener(&server, PlaceKind::Channel, "news").await;
    // One more than are kept: when it is lost, the others are there.
    say(&server, "news", 0..8193).await;
    until("one is lost", || async { host.broker.unheard() == 1 }).await;
    let taken = host.take(3).await;
    host.source.stop().await;
    assert_eq!(host.broker.unheard(), 8193 - 3);
    let settled = host.settle(taken, Settlement::Accept).await;
    assert_eq!(settled, vec![Ok(()); 3]);
}

#[tokio::test]
async fn it_listens_again_after_the_server_was_killed() {
    for (kind, address) in [(PlaceKind::Channel, "news"), (PlaceKind::Pattern, "ne*")] {
        let mut server = RedisServer::start().await;
        let mut host = listener(&server, kind, address).await;
        server.kill();
        until("the loss is seen", || async {
            host.broker.health() != Health::Ready
        })
        .await;
        server.run().await;
        until("it listens again", || async {
            host.broker.health() == Health::Ready
        })
        .await;
        say(&server, "news", 0..3).await;
        let taken = host.take(3).await;
        assert_eq!(payloads(&taken), numbers(0..3));
        drop(taken);
    }
}

/// One that is redriven is kept until it is settled, as in a list.
#[tokio::test]
async fn what_is_redriven_is_not_lost() {
    let server = RedisServer::start().await;
    let mut host = listener(&server, PlaceKind::Channel, "news").await;
    let _ = server.command("LPUSH retry.orders-in.biller again").await;
    let taken = host.take(1).await;
    host.release(taken, None, 1).await;
    assert_eq!(host.broker.unheard(), 0);
    let again = host.take(1).await;
    assert_eq!(
        (&again[0].message().payload[..], again[0].message().attempts),
        (&b"again"[..], 1)
    );
    say(&server, "news", 0..1).await;
    let heard = host.take(1).await;
    let both = again.into_iter().chain(heard).collect();
    // As the committer does where there are no outputs.
    host.accept(both).await;
    let left = "HLEN wharf:queue:{retry.orders-in.biller}:retry.orders-in.biller:items";
    assert_eq!(server.command(left).await, Value::Int(0));
}

#[tokio::test]
async fn an_output_is_an_envelope_and_nobody_need_listen() {
    let server = RedisServer::start().await;
    let host = listener(&server, PlaceKind::Channel, "other").await;
    let mut listening = listener(&server, PlaceKind::Channel, "news").await;
    let mut said = to("news", "hello");
    said.destination = destination("news", PlaceKind::Channel);
    let mut unheard = said.clone();
    unheard.destination = destination("nobody", PlaceKind::Channel);
    let results = host.broker.publisher().publish(&[&said, &unheard]).await;
    assert_eq!(results, [Ok(()), Ok(())]);
    let taken = listening.take(1).await;
    let message = taken[0].message();
    assert_eq!((&*message.id, message.id_stable), ("id-1", true));
    assert_eq!(&message.payload[..], b"hello");
}
