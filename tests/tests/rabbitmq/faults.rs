//! Servers that go and come, queues that go, messages that break the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use tokio::time::Instant;
use wharf::commit::Settlement;
use wharf::ports::{Broker, Health, SettleError};
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

/// What is in hand when the server dies comes again; its old settlement is refused and touches nothing of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nothing_and_settles_nothing_twice() {
    let mut server = RabbitServer::start().await;
    for kind in KINDS {
        server.declare(kind.as_str(), kind.as_str(), &[]).await;
        let (_connection, channel) = server.client().await;
        for n in 0..200 {
            publish(&channel, kind.as_str(), &n.to_string(), persistent()).await;
        }
    }
    let mut hosts = Vec::new();
    for kind in KINDS {
        let mut host = host(&server.url(), kind.as_str(), kind).await;
        let taken = host.take(100).await;
        let accepted = host.take(50).await;
        let done = payloads(&accepted);
        host.accept(accepted).await;
        hosts.push((kind, host, taken, done));
    }
    server.flush().await;
    server.kill();
    for (_, host, _, _) in &hosts {
        until("the loss is seen", || {
            matches!(host.broker.health(), Health::Waiting(_))
        })
        .await;
    }
    server.run().await;
    let back = Instant::now();
    for (_, host, _, _) in &hosts {
        host.ready().await;
    }
    println!("ready {:?} after the server was", back.elapsed());
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
    for (kind, mut host, old, done) in hosts {
        let mut seen: BTreeMap<String, u32> = done.into_iter().map(|p| (p, 1)).collect();
        let mut old = Some(old);
        while seen.len() < 200 {
            let taken = host.take(1).await;
            if let Some(old) = old.take() {
                // Tags of the old channel would be others' on the new one.
                for result in host.settle(old, Settlement::Accept).await {
                    assert!(matches!(result, Err(SettleError::Fenced(_))), "{result:?}");
                }
            }
            for payload in payloads(&taken) {
                *seen.entry(payload).or_default() += 1;
            }
            host.accept(taken).await;
        }
        // What was accepted just before the server died may come once more; nothing comes more often.
        assert!(seen.values().all(|n| *n <= 2), "{kind:?}: {seen:?}");
        host.stop().await;
        nothing_left(&server, kind.as_str()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_is_missed_and_found_again() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        let mut host = host(&server.url(), queue, kind).await;
        publish(&channel, queue, "a", persistent()).await;
        let taken = host.take(1).await;
        host.accept(taken).await;
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await
            .expect("deleted");
        let missing = || match host.broker.health() {
            Health::Waiting(reason) => reason.contains("no queue"),
            Health::Ready => false,
        };
        until("the server's words are seen", missing).await;
        server.declare(queue, kind.as_str(), &[]).await;
        publish(&channel, queue, "b", persistent()).await;
        assert_eq!(payloads(&host.take(1).await), ["b"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_server_is_waited_for() {
    let mut server = RabbitServer::absent(&[]);
    let kind = KINDS[0];
    let mut host = host(&server.url(), "orders", kind).await;
    until("it is said", || match host.broker.health() {
        Health::Waiting(reason) => {
            reason.contains("refused") && reason.contains("; check host and port in `url`")
        }
        Health::Ready => false,
    })
    .await;
    server.run().await;
    server.declare("orders", kind.as_str(), &[]).await;
    let (_connection, channel) = server.client().await;
    publish(&channel, "orders", "a", persistent()).await;
    let taken = host.take(1).await;
    host.accept(taken).await;
    nothing_left(&server, "orders").await;
}

/// Who we are, where we go and what we read: the server says which of them is wrong, and the host what to change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_in_the_servers_words() {
    let server = RabbitServer::start().await;
    server.declare("in", "classic", &[]).await;
    let url = server.url();
    for (url, queue, said, change) in [
        (
            url.replace("guest:guest", "guest:hunter2"),
            "in",
            "ACCESS_REFUSED",
            "check user and password in `url`",
        ),
        (
            url.replace("/%2f", "/elsewhere"),
            "in",
            "vhost elsewhere not found",
            "check the virtual host in `url`",
        ),
        (
            url,
            "orders",
            "NOT_FOUND - no queue 'orders'",
            "make the queue, or name it under `declare.queues`",
        ),
    ] {
        let host = host(&url, queue, KINDS[0]).await;
        let told = || match host.broker.health() {
            Health::Waiting(reason) => {
                let words = reason.split_once("; ");
                words.is_some_and(|(words, advice)| {
                    words.contains(said) && advice.starts_with(change)
                }) && !reason.contains("hunter2")
            }
            Health::Ready => false,
        };
        until(said, told).await;
    }
}
