//! An order that is promised holds through releases, stops and deaths.

use wharf::config::rabbitmq::{QueueKind, RabbitMq};
use wharf::delivery::Delivery;
use wharf::ports::{Broker as _, SubscriptionSpec};
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

fn config(server: &RabbitServer, name: &str, kind: QueueKind) -> RabbitMq {
    let queue = serde_json::json!({ "kind": kind.as_str(), "single_active_consumer": true });
    let declare = serde_json::json!({ "queues": { (name): queue } });
    RabbitMq {
        queue_kind: kind,
        declare: serde_json::from_value(declare).expect("a declaration"),
        ..RabbitMq::new(server.url())
    }
}

async fn ordered(server: &RabbitServer, name: &str, kind: QueueKind) -> Host {
    let spec = SubscriptionSpec {
        ordered: true,
        ..spec(name)
    };
    host_with(config(server, name, kind), spec).await
}

/// In the order they came.
fn numbers(deliveries: &[Delivery]) -> Vec<u32> {
    let number = |d: &Delivery| {
        let text = std::str::from_utf8(&d.message().payload).expect("text");
        text.parse().expect("a number")
    };
    deliveries.iter().map(number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_released_comes_back_before_what_is_behind_it() {
    let server = RabbitServer::shared().await;
    for kind in [QueueKind::Classic, QueueKind::Quorum] {
        let queue = &*name_of(kind);
        let mut first = ordered(&server, queue, kind).await;
        first.ready().await;
        let (_connection, channel) = server.client().await;
        for n in 0..60 {
            publish(&channel, queue, &n.to_string(), persistent()).await;
        }
        let mut taken = first.take(5).await;
        assert_eq!(numbers(&taken), [0, 1, 2, 3, 4]);
        let released = taken.split_off(2);
        first.accept(taken).await;
        // Any order of release, more of them read meanwhile, one after the other.
        for one in released.into_iter().rev() {
            drop(one);
            for result in first.settle_inbox().await {
                result.expect("released");
            }
        }
        let mut taken = first.take(8).await;
        assert_eq!(numbers(&taken), (2..10).collect::<Vec<_>>(), "{queue}");

        // It reads beside it, and is given nothing.
        let mut second = ordered(&server, queue, kind).await;
        second.ready().await;

        // Stopping leaves the rest where it was, and nobody else begins before all in hand has ended.
        first.source.stop().await;
        let late = taken.split_off(5);
        first.accept(taken).await;
        assert_eq!(
            second
                .broker
                .lag(&spec(queue))
                .await
                .expect("asked")
                .pending,
            0
        );
        drop(late);
        first.stop().await;
        let taken = second.take(10).await;
        assert_eq!(numbers(&taken), (7..17).collect::<Vec<_>>(), "{queue}");
        second.accept(taken).await;

        // Nor does a host that dies with some in hand, and more read.
        let lost = second.take(3).await;
        assert_eq!(numbers(&lost), [17, 18, 19]);
        let mut third = ordered(&server, queue, kind).await;
        third.ready().await;
        second.broker.close().await;
        let mut next = 17;
        while next < 60 {
            let taken = third.take((60 - next).min(20) as usize).await;
            let until = next + taken.len() as u32;
            assert_eq!(
                numbers(&taken),
                (next..until).collect::<Vec<_>>(),
                "{queue}"
            );
            next = until;
            third.accept(taken).await;
        }
        third.stop().await;
        nothing_left(&server, queue).await;
    }
}

/// More is behind it than is read ahead, another host waits for its turn or none does, and what was accepted before has to
/// be known to the queue first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_released_again_and_again_is_overtaken_by_nothing_and_charges_nothing() {
    let server = RabbitServer::shared().await;
    for (kind, count, alone) in [
        (QueueKind::Classic, 2, true),
        (QueueKind::Quorum, 2, true),
        (QueueKind::Quorum, 1, true),
        (QueueKind::Quorum, 1, false),
    ] {
        let queue = &*name_of(kind);
        let narrow = SubscriptionSpec {
            ordered: true,
            prefetch: 10,
            ..spec(queue)
        };
        let mut hosts = Vec::new();
        for _ in 0..count {
            let host = host_with(config(&server, queue, kind), narrow.clone()).await;
            host.ready().await;
            hosts.push(host);
        }
        let (_connection, channel) = server.client().await;
        for n in 0..100 {
            publish(&channel, queue, &n.to_string(), persistent()).await;
        }
        for round in 0..8 {
            // Whoever gives everything back is the last to have it again.
            let host = &mut hosts[round % count];
            let mut taken = host.take(10).await;
            let told = |d: &Delivery| d.message().deliveries;
            let deliveries: Vec<u32> = taken.iter().map(told).collect();
            let next = round as u32 * 9;
            let wanted: Vec<u32> = (next..next + 10).collect();
            assert_eq!(numbers(&taken), wanted, "{queue}");
            // Another host cannot tell what was given back in a quorum queue from what somebody died of.
            if count == 1 || kind == QueueKind::Classic {
                assert_eq!(deliveries, [1; 10], "{queue} in round {round}");
            }
            let last = taken.pop();
            // From behind no two are acknowledged by one frame; otherwise all of them are.
            if alone {
                for one in taken.drain(..).rev() {
                    host.accept(vec![one]).await;
                }
            } else {
                host.accept(taken).await;
            }
            drop(last);
            for result in host.settle_inbox().await {
                result.expect("released");
            }
        }
        for host in hosts {
            host.stop().await;
        }
    }
}
