//! The server's patience with what was read ahead: it is given back before that ends.

use std::time::Duration;

use lapin::Channel;
use tokio::time::{Instant, sleep};
use wharf::config::rabbitmq::{QueueKind, RabbitMq};
use wharf::delivery::Delivery;
use wharf::ports::{Broker as _, Health, SubscriptionSpec};
use wharf_tests::rabbit_server::{Depth, RabbitServer};

use crate::support::*;

const WAITS: Duration = Duration::from_secs(3);

fn patient(server: &RabbitServer, kind: QueueKind, queue: &str, ordered: bool) -> RabbitMq {
    let one = serde_json::json!({ "kind": kind.as_str(), "single_active_consumer": ordered });
    let declare = serde_json::json!({ "queues": { (queue): one } });
    RabbitMq {
        consumer_timeout: WAITS,
        declare: serde_json::from_value(declare).expect("a declaration"),
        ..config(&server.url(), kind)
    }
}

async fn impatient() -> RabbitServer {
    let server = RabbitServer::start().await;
    server.lose_patience(WAITS).await;
    server
}

async fn numbered(channel: &Channel, queue: &str, count: usize) {
    for n in 0..count {
        publish(channel, queue, &format!("{n:02}"), persistent()).await;
    }
}

fn all(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n:02}")).collect()
}

/// Watches for longer than the server waits.
async fn stays_well(host: &Host) {
    let end = Instant::now() + WAITS * 2;
    while Instant::now() < end {
        assert_eq!(host.broker.health(), Health::Ready);
        sleep(Duration::from_millis(20)).await;
    }
}

fn deliveries(taken: &[Delivery]) -> Vec<u32> {
    taken.iter().map(|d| d.message().deliveries).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_fetches_is_given_back_and_read_again_when_somebody_does() {
    let server = impatient().await;
    for kind in KINDS {
        for ordered in [false, true] {
            let queue = &*name_of(kind);
            let spec = SubscriptionSpec {
                ordered,
                ..spec(queue)
            };
            let config = patient(&server, kind, queue, ordered);
            let mut host = host_with(config, spec.clone()).await;
            host.ready().await;
            let (_connection, channel) = server.client().await;
            numbered(&channel, queue, 20).await;
            let deadline = Instant::now() + PATIENCE;
            while host.broker.lag(&spec).await.expect("asked").pending < 20 {
                assert!(Instant::now() < deadline, "it is not read ahead");
                sleep(Duration::from_millis(5)).await;
            }
            stays_well(&host).await;
            let nobody_has_them = |d: Depth| d.unacked == 0 && d.consumers == 0;
            server.until(queue, nobody_has_them).await;
            let taken = host.take(20).await;
            if ordered {
                let came: Vec<String> = taken
                    .iter()
                    .flat_map(|d| payloads(std::slice::from_ref(d)))
                    .collect();
                assert_eq!(came, all(20), "{queue}: their order");
            }
            assert_eq!(payloads(&taken), all(20), "{queue}");
            assert_eq!(deliveries(&taken), [1; 20], "{queue}: none was delivered");
            host.accept(taken).await;
            host.stop().await;
            nothing_left(&server, queue).await;
        }
    }
}

/// Under an order promise there is no place at the server for what a message was charged: the host keeps it in mind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_went_back_in_its_place_comes_with_what_it_was_charged() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*name_of(kind);
        let spec = SubscriptionSpec {
            ordered: true,
            ..spec(queue)
        };
        let config = RabbitMq {
            consumer_timeout: Duration::from_secs(1800),
            ..patient(&server, kind, queue, true)
        };
        let mut host = host_with(config, spec).await;
        host.ready().await;
        let (_connection, channel) = server.client().await;
        numbered(&channel, queue, 3).await;
        for round in 1..4 {
            let taken = host.take(3).await;
            assert_eq!(payloads(&taken), all(3));
            assert_eq!(
                deliveries(&taken),
                [1; 3],
                "{queue}: no crash in round {round}"
            );
            let attempts: Vec<u32> = taken.iter().map(|d| d.message().attempts).collect();
            assert_eq!(attempts, [round - 1, 0, 0], "{queue}");
            let first = &taken[0];
            let failed = (round > 1).then_some(1_786_000_000_000);
            assert_eq!(first.message().first_failed_ms, failed);
            assert_eq!(
                first.due().is_some_and(|due| due > Instant::now()),
                round > 1
            );
            assert_eq!(taken[1].due(), None);
            let mut taken = taken.into_iter();
            let head = taken.next().into_iter().collect();
            let later = release(Some(Duration::from_secs(60)), round);
            for result in host.settle(head, later).await {
                result.expect("released");
            }
            drop(taken);
            for result in host.settle_inbox().await {
                result.expect("released");
            }
        }
        let taken = host.take(3).await;
        host.accept(taken).await;
        host.stop().await;
        nothing_left(&server, queue).await;
    }
}
