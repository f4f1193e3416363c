//! What is published is in a queue when it is confirmed; what cannot be is told, and whose fault it is.

use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldTable};
use wharf::commit::Publication;
use wharf::config::rabbitmq::QueueKind;
use wharf::ports::{Broker, Health, PublishError};
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

/// What went wrong: `d` the destination's fault, `m` the message's, `-` nothing.
fn faults(results: &[Result<(), PublishError>]) -> String {
    let of = |result: &Result<(), PublishError>| match result {
        Ok(()) => '-',
        Err(PublishError::Destination(_)) => 'd',
        Err(PublishError::Message(_)) => 'm',
    };
    results.iter().map(of).collect()
}

async fn send(host: &Host, batch: &[Publication]) -> Vec<Result<(), PublishError>> {
    let refs: Vec<&Publication> = batch.iter().collect();
    host.broker.publisher().publish(&refs).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_output_is_told_its_own_fate() {
    let server = RabbitServer::start().await;
    server.declare("in", "classic", &[]).await;
    server.declare("out", "quorum", &[]).await;
    let full = [
        ("x-max-length", AMQPValue::LongLongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    server.declare("full", "classic", &full).await;
    let (_connection, channel) = server.client().await;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            "shop".into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
        .expect("declared");
    channel
        .queue_bind(
            "out".into(),
            "shop".into(),
            "orders.#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("bound");
    publish(&channel, "full", "first", persistent()).await;
    let host = host(&server.url(), "in", QueueKind::Classic).await;
    host.ready().await;

    let mut elsewhere = output("out", "6");
    elsewhere.message.topic = Some("nowhere".into());
    let batch = [
        output("out", "1"),
        output("shop/orders.new", "2"),
        output("shop/bills.new", "3"),
        output("nowhere", "4"),
        output("no such exchange/k", "5"),
        elsewhere,
        output("full", "7"),
        output("out", "8"),
    ];
    for _ in 0..20 {
        let results = send(&host, &batch).await;
        assert_eq!(faults(&results), "--mddmd-", "{results:?}");
    }
    let said = send(&host, &batch).await;
    let text = |index: usize| said[index].as_ref().unwrap_err().to_string();
    for (index, words, change) in [
        (2, "NO_ROUTE", "bind a queue by that routing key"),
        (
            3,
            "there is no such queue",
            "name it under `declare.queues`",
        ),
        (
            4,
            "NOT_FOUND - no exchange 'no such exchange'",
            "name it under `declare.exchanges`",
        ),
        (6, "a queue refused it", "raise its `max_length`"),
    ] {
        let text = text(index);
        assert!(text.contains(words) && text.contains(change), "{text}");
    }
    assert_eq!(server.until("out", |d| d.ready == 63).await.ready, 63);
}

/// A message that is too large for the server, or whose headers are too large for a frame, is at fault, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_told_and_takes_nothing_with_it() {
    let mut server = RabbitServer::absent(&["max_message_size = 4096"]);
    server.run().await;
    server.declare("in", "classic", &[]).await;
    server.declare("out", "quorum", &[]).await;
    let host = host(&server.url(), "in", QueueKind::Classic).await;
    host.ready().await;
    let mut large = output("out", "large");
    large.message.payload = vec![b'x'; 4097].into();
    let mut wide = output("out", "wide");
    wide.message.headers = vec![wharf::message::Header::text("h", "v".repeat(200_000))];
    let alone = [large, wide];
    let results = send(&host, &alone).await;
    assert_eq!(faults(&results), "mm");
    for (result, change) in results.iter().zip(["`max_message_size`", "`frame_max`"]) {
        let said = result.as_ref().unwrap_err().to_string();
        assert!(
            said.contains("larger than") && said.contains(change),
            "{said}"
        );
    }
    // With others in one batch those may have to be sent again; it is refused at last, and they are not.
    let mut batch = vec![output("out", "1"), alone[0].clone(), output("out", "2")];
    let mut refused = 0;
    while !batch.is_empty() {
        let results = send(&host, &batch).await;
        refused += faults(&results).matches('m').count();
        let again = batch.into_iter().zip(results);
        let again = again.filter(|(_, r)| matches!(r, Err(PublishError::Destination(_))));
        batch = again.map(|(one, _)| one).collect();
    }
    assert_eq!(refused, 1);
    assert!(server.until("out", |d| d.ready >= 2).await.ready >= 2);
    host.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_messages_is_seen_and_waited_for() {
    let server = RabbitServer::start().await;
    server.declare("in", "classic", &[]).await;
    let mut host = host(&server.url(), "in", QueueKind::Classic).await;
    host.ready().await;
    let batch = [output("in", "1")];
    assert_eq!(faults(&send(&host, &batch).await), "-");
    let in_hand = host.take(1).await;
    server
        .ctl(&["set_vm_memory_high_watermark", "0.0000001"])
        .await;
    // The server says so to whoever publishes.
    let publishing = tokio::spawn({
        let (publisher, batch) = (host.broker.publisher(), batch.clone());
        async move { publisher.publish(&[&batch[0]]).await }
    });
    until("the alarm is seen", || {
        matches!(host.broker.health(), Health::Waiting(_))
    })
    .await;
    let said = format!("{:?}", host.broker.health());
    assert!(said.contains("takes no messages"), "{said}");
    // What needs no publication goes on.
    host.accept(in_hand).await;
    server.until("in", |d| d.unacked == 0).await;
    assert!(matches!(host.broker.health(), Health::Waiting(_)));
    server.ctl(&["set_vm_memory_high_watermark", "0.9"]).await;
    let first = publishing.await.expect("published");
    assert!(!faults(&first).contains('m'), "{first:?}");
    host.ready().await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while faults(&send(&host, &batch).await) != "-" {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it does not publish again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
