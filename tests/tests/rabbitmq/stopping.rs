//! A host that stops on a server whose disk stalls.

use futures_util::StreamExt as _;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use tokio::time::timeout;
use wharf::config::rabbitmq::{QueueKind, RabbitMq};
use wharf::ports::SubscriptionSpec;
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

/// The channel of a quorum queue keeps to itself what it is told while 32 commands are on their way to the queue, and
/// forgets it when it is closed (`rabbit_fifo_client`, `unsent_commands`): what was acknowledged came again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_while_the_disk_stalls_does_not_come_again() {
    let server = RabbitServer::start().await;
    for ordered in [false, true] {
        let kind = QueueKind::Quorum;
        let queue = &*name_of(kind);
        let one = serde_json::json!({ "kind": "quorum", "single_active_consumer": ordered });
        let declare = serde_json::json!({ "queues": { (queue): one } });
        let config = RabbitMq {
            declare: serde_json::from_value(declare).expect("a declaration"),
            ..config(&server.url(), kind)
        };
        let spec = SubscriptionSpec {
            ordered,
            ..spec(queue)
        };
        let mut host = host_with(config, spec).await;
        host.ready().await;
        let (_connection, channel) = server.client().await;
        for n in 0..100 {
            publish(&channel, queue, &n.to_string(), persistent()).await;
        }
        let mut taken = host.take(100).await;
        host.source.stop().await;
        server.stall().await;
        let first = taken.remove(0);
        // From behind, so that no two are acknowledged by one frame.
        while let Some(last) = taken.pop() {
            host.accept(vec![last]).await;
        }
        let stop = async {
            host.accept(vec![first]).await;
            host.stop().await;
        };
        tokio::join!(stop, server.recover());

        // It is behind all that was done to the queue.
        publish(&channel, queue, "fresh", persistent()).await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let mut consumer = channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await
            .expect("consuming");
        let mut left = Vec::new();
        while left.last().is_none_or(|last| last != "fresh") {
            let next = timeout(PATIENCE, consumer.next()).await;
            let delivery = next.expect("in time").expect("one more").expect("whole");
            left.push(String::from_utf8_lossy(&delivery.data).into_owned());
        }
        assert_eq!(left, ["fresh"], "ordered: {ordered}");
        let connection = server.client().await.0;
        let moved = server.ready(&connection, &retry_of(queue)).await;
        assert_eq!(moved, 0, "ordered: {ordered}");
    }
}
