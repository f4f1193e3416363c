//! What plain clients publish is read, and nothing is left when it is accepted.

use lapin::BasicProperties;
use lapin::types::AMQPValue;
use wharf::message::Header;
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_client_publishes_is_read_and_accepted() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        let properties = persistent()
            .with_message_id("o-7".into())
            .with_content_type("application/json".into())
            .with_user_id("guest".into())
            .with_headers(table(&[
                ("n", AMQPValue::LongInt(-5)),
                ("CC", AMQPValue::FieldArray(Default::default())),
            ]));
        publish(&channel, queue, "{}", properties).await;
        let mut host = host(&server.url(), queue, kind).await;
        let taken = host.take(1).await;
        let m = taken[0].message();
        assert_eq!((&*m.id, m.id_stable, m.deliveries), ("o-7", true, 1));
        assert_eq!(m.content_type.as_deref(), Some("application/json"));
        assert_eq!((&*m.topic, &*m.origin.source), (queue, queue));
        let expected = [
            Header::text("amqp-user-id", "guest"),
            Header::text("CC", "[]"),
            Header::text("n", "-5"),
        ];
        assert_eq!(m.headers, expected);
        host.accept(taken).await;
        nothing_left(&server, queue).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_accepted_in_any_order_and_none_is_left() {
    let server = RabbitServer::shared().await;
    for kind in KINDS {
        let queue = &*queue_of(&server, kind).await;
        let (_connection, channel) = server.client().await;
        for n in 0..300 {
            publish(&channel, queue, &n.to_string(), BasicProperties::default()).await;
        }
        let mut host = host(&server.url(), queue, kind).await;
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 300 {
            let mut taken = host.take((300 - seen.len()).min(37)).await;
            fastrand::shuffle(&mut taken);
            for payload in payloads(&taken) {
                assert!(seen.insert(payload), "twice");
            }
            host.accept(taken).await;
        }
        nothing_left(&server, queue).await;
    }
}
