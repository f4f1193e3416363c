//! Several hosts on one durable consumer.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wharf_tests::nats_server::NatsServer;
use wharf_tests::proxy::Proxy;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_share_what_there_is() {
    let server = server().await;
    let (mut one, mut other) = (host(&server).await, host(&server).await);
    one.ready().await;
    other.ready().await;
    let context = server.jetstream().await;
    for n in 0..400 {
        let sent = context.publish("orders.eu", n.to_string().into()).await;
        sent.expect("published").await.expect("confirmed");
    }
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut shares = [0, 0];
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 400 {
        assert!(Instant::now() < deadline, "{} came", seen.len());
        for (host, share) in [&mut one, &mut other].into_iter().zip(&mut shares) {
            let taken = host.within(Duration::from_millis(100), 50).await;
            *share += taken.len();
            for payload in payloads(&taken) {
                *seen.entry(payload).or_default() += 1;
            }
            host.accept(taken).await;
        }
    }
    assert!(seen.values().all(|n| *n == 1), "{seen:?}");
    assert!(shares[0] > 0 && shares[1] > 0, "{shares:?}");
    nothing_left(&server).await;
}

/// Each has what was released by the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_host_releases_another_may_take() {
    let server = server().await;
    server.publish("orders.eu", "a").await;
    let mut one = host(&server).await;
    let taken = one.take(1).await;
    all_well(
        one.settle(taken, release(Some(Duration::from_secs(1)), 2))
            .await,
    );
    one.stop().await;
    let mut other = host(&server).await;
    let taken = other.take(1).await;
    assert_eq!(taken[0].message().attempts, 2);
    other.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_hosts_messages_are_taken_over_within_the_servers_patience() {
    let server = server().await;
    for n in 0..30 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let proxy = Proxy::start(server.port()).await;
    let url = NatsServer::url_by(proxy.port());
    let mut dying = host_with(impatient(&url), spec()).await;
    drop(dying.take(10).await);
    let died = Instant::now();
    dying.kill(proxy).await;
    let mut heir = host_with(impatient(&server.url()), spec()).await;
    let taken = heir.take(30).await;
    // Two seconds, and what the machine needs.
    assert!(
        died.elapsed() < Duration::from_secs(6),
        "{:?}",
        died.elapsed()
    );
    assert_eq!(payloads(&taken).len(), 30);
    heir.accept(taken).await;
    nothing_left(&server).await;
}
