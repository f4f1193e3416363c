//! The servers of the other tests do what those rely on.

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation};
use wharf_tests::rabbit_server::{Depth, RabbitServer};

async fn publish(channel: &Channel, queue: &str, payload: &str) {
    let confirmed = channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            payload.as_bytes(),
            BasicProperties::default().with_delivery_mode(2),
        )
        .await
        .expect("published")
        .await
        .expect("confirmed");
    assert_eq!(confirmed, Confirmation::Ack(None));
}

fn holds(ready: u64, unacked: u64, consumers: u64) -> Depth {
    Depth {
        ready,
        unacked,
        consumers,
    }
}

#[tokio::test]
async fn a_server_keeps_messages_over_kill_and_stop_and_says_what_it_holds() {
    let mut server = RabbitServer::start().await;
    for kind in ["classic", "quorum"] {
        server.declare(kind, kind, &[]).await;
        let (_connection, channel) = server.client().await;
        publish(&channel, kind, "a").await;
        publish(&channel, kind, "b").await;
    }
    assert_eq!(server.depth("nowhere").await, None);

    server.flush().await;
    server.restart().await;
    for kind in ["classic", "quorum"] {
        let (connection, channel) = server.client().await;
        let mut consumer = channel
            .basic_consume(
                kind.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("consuming");
        let first = consumer.next().await.expect("a message").expect("read");
        assert_eq!(first.data, b"a");
        first.ack(Default::default()).await.expect("acked");
        let held = holds(0, 1, 1);
        assert_eq!(server.until(kind, |d| d == held).await, held);
        connection.close(200, "".into()).await.expect("closed");
        let back = holds(1, 0, 0);
        assert_eq!(server.until(kind, |d| d == back).await, back);
    }

    server.stop().await;
    server.run().await;
    for kind in ["classic", "quorum"] {
        let kept = holds(1, 0, 0);
        assert_eq!(server.until(kind, |d| d.ready == 1).await, kept);
        server.purge(kind).await;
        let empty = holds(0, 0, 0);
        assert_eq!(server.until(kind, |d| d.ready == 0).await, empty);
    }
}

#[tokio::test]
async fn two_servers_do_not_know_of_each_other() {
    let (one, other) = tokio::join!(RabbitServer::start(), RabbitServer::start());
    one.declare("orders", "classic", &[]).await;
    assert_eq!(other.depth("orders").await, None);
    assert_eq!(one.depth("orders").await, Some(Depth::default()));
}
