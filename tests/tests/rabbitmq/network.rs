//! Networks that break, servers that lose patience, and stops at the wrong moment.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wharf::commit::Settlement;
use wharf::config::rabbitmq::RabbitMq;
use wharf::ports::{Broker, Health, SettleError};
use wharf_tests::proxy::Proxy;
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_and_silence_lose_nothing() {
    let server = RabbitServer::shared().await;
    let proxy = Proxy::start(server.port()).await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        for n in 0..100 {
            publish(&channel, queue, &n.to_string(), persistent()).await;
        }
        let mut config = config(&RabbitServer::url_by(proxy.port()), kind);
        config.heartbeat = Duration::from_secs(1);
        let mut host = host_with(config, spec(queue)).await;
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        let mut round = 0;
        while seen.len() < 100 {
            let taken = host.take(1).await;
            round += 1;
            match round {
                // Cut with some in hand: they come again.
                3 | 7 => {
                    proxy.cut();
                    until("the cut is seen", || host.broker.health() != Health::Ready).await;
                    accept_what_is_ours(&mut host, taken).await;
                    continue;
                }
                // Nobody hears anything, and no connection is closed.
                5 => {
                    proxy.black_hole();
                    let silent = Instant::now();
                    until("the silence is seen", || {
                        host.broker.health() != Health::Ready
                    })
                    .await;
                    assert!(
                        silent.elapsed() < Duration::from_secs(5),
                        "{:?}",
                        silent.elapsed()
                    );
                    drop(taken);
                    let ended = host.ended();
                    drop(host.settler.settle(&ended).await);
                    proxy.heal();
                    // The connection that reads may have come through, and what was not settled is still in hand there.
                    host.insist(ended).await;
                    continue;
                }
                // Parked under way: either it is there or it comes again.
                9 => {
                    let (results, ()) =
                        tokio::join!(host.settle(taken, release(None, 1)), async { proxy.cut() },);
                    let known = |r: &Result<(), SettleError>| match r {
                        Ok(()) | Err(SettleError::Fenced(_) | SettleError::Unavailable(_)) => true,
                    };
                    assert!(results.iter().all(known));
                    host.ready().await;
                    continue;
                }
                _ => {}
            }
            for payload in payloads(&taken) {
                *seen.entry(payload).or_default() += 1;
            }
            accept_what_is_ours(&mut host, taken).await;
        }
        host.ready().await;
        // An acknowledgement may be lost with its connection, and a message that was parked may be at its old place too.
        let empty = async {
            loop {
                let taken = host.source.fetch(room(10)).await.expect("fetched");
                accept_what_is_ours(&mut host, taken).await;
            }
        };
        tokio::select! {
            () = empty => {}
            () = nothing_left(&server, queue) => {}
        }
        host.stop().await;
        nothing_left(&server, queue).await;
        assert!(seen.values().all(|n| *n <= 3), "{seen:?}");
    }
}

/// The client has no answer for whoever asks it for a channel just as the connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_parks_while_connections_break_is_told() {
    let server = RabbitServer::shared().await;
    let proxy = Proxy::start(server.port()).await;
    let kind = KINDS[1];
    let queue = &*queue_of(&server, kind).await;
    let (_connection, channel) = server.client().await;
    publish(&channel, queue, "a", persistent()).await;
    let config = config(&RabbitServer::url_by(proxy.port()), kind);
    let mut host = host_with(config, spec(queue)).await;
    for round in 0..150 {
        let taken = host.take(1).await;
        host.ready().await;
        let cut = async {
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..3000))).await;
            proxy.cut();
        };
        let parking = async {
            // As a committer does: again until it is known.
            let first = host.settle(taken, release(None, 0)).await;
            assert_eq!(first.len(), 1);
        };
        let both = tokio::time::timeout(PATIENCE / 3, async { tokio::join!(parking, cut) });
        both.await
            .unwrap_or_else(|_| panic!("nothing is said in round {round}"));
    }
}

/// Accepts; what came by a connection that is gone comes again.
async fn accept_what_is_ours(host: &mut Host, taken: Vec<wharf::delivery::Delivery>) {
    for result in host.settle(taken, Settlement::Accept).await {
        assert!(
            matches!(result, Ok(()) | Err(SettleError::Fenced(_))),
            "{result:?}"
        );
    }
}

/// The connection attempt may take as long as it likes: a stop does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_connection() {
    let proxy = Proxy::start(1).await;
    proxy.black_hole();
    let mut config = RabbitMq::new(RabbitServer::url_by(proxy.port()));
    config.connect_timeout = Duration::from_secs(60);
    let host = host_with(config, spec("in")).await;
    let stopping = Instant::now();
    host.stop().await;
    assert!(
        stopping.elapsed() < Duration::from_secs(2),
        "{:?}",
        stopping.elapsed()
    );
}

/// A handler that is slower than the server's patience loses nothing: its message comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loses_patience_is_gone_on_with() {
    let server = RabbitServer::start().await;
    server.lose_patience(Duration::from_secs(1)).await;
    for kind in KINDS {
        let queue = kind.as_str();
        server.declare(queue, queue, &[]).await;
        let (_connection, channel) = server.client().await;
        publish(&channel, queue, "slow", persistent()).await;
        let mut host = host(&server.url(), queue, kind).await;
        let held = host.take(1).await;
        let said = || match host.broker.health() {
            Health::Waiting(reason) => reason.contains("timed out") || reason.contains("timeout"),
            Health::Ready => false,
        };
        until("the server's words are seen", said).await;
        for result in host.settle(held, Settlement::Accept).await {
            assert!(matches!(result, Err(SettleError::Fenced(_))), "{result:?}");
        }
        let again = host.take(1).await;
        assert_eq!(payloads(&again), ["slow"]);
        assert_eq!(again[0].message().deliveries, 2);
        host.accept(again).await;
        host.stop().await;
        nothing_left(&server, queue).await;
    }
}
