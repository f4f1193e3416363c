//! What the configuration declares is made, made again, and never fought over.

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::AMQPValue;
use lapin::{Channel, Confirmation};
use wharf::config::rabbitmq::RabbitMq;
use wharf::ports::{Broker, Health};
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

fn declaring(url: &str, declare: serde_json::Value) -> RabbitMq {
    let declare = serde_json::from_value(declare).expect("a declaration");
    RabbitMq {
        declare,
        ..RabbitMq::new(url)
    }
}

async fn send(channel: &Channel, to: (&str, &str), payload: &str, properties: BasicProperties) {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let payload = payload.as_bytes();
    let confirm = channel.basic_publish(to.0.into(), to.1.into(), options, payload, properties);
    let confirmed = confirm.await.expect("published").await.expect("confirmed");
    assert_eq!(confirmed, Confirmation::Ack(None), "{to:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_is_made_and_made_again() {
    let server = RabbitServer::start().await;
    let config = declaring(
        &server.url(),
        serde_json::json!({
            "exchanges": {
                "by-topic": { "kind": "topic", "alternate": "to-all" },
                "to-all": { "kind": "fanout" },
                "by-header": { "kind": "headers" },
                "by-key": {},
            },
            "queues": {
                "in": {
                    "bindings": [
                        { "exchange": "by-topic", "routing_key": "orders.#" },
                        { "exchange": "by-header", "headers": { "kind": "order", "n": 1 }, "match": "any" },
                        { "exchange": "by-key", "routing_key": "k" },
                    ],
                },
                "lost": { "kind": "classic", "bindings": [{ "exchange": "to-all" }] },
                "late": {
                    "message_ttl": "1ms",
                    "dead_letter": { "exchange": "", "routing_key": "in" },
                },
                "urgent": { "kind": "classic", "max_priority": 5 },
            },
        }),
    );
    let mut host = host_with(config, spec("in")).await;
    host.ready().await;
    let (_connection, channel) = server.client().await;
    // Twice: as it was made, and after it was deleted.
    for round in 0..2 {
        let of_kind = |kind: &str| {
            let kind = AMQPValue::LongString(kind.into());
            persistent().with_headers(table(&[("kind", kind)]))
        };
        send(&channel, ("by-topic", "orders.new"), "topic", persistent()).await;
        send(&channel, ("by-header", ""), "header", of_kind("order")).await;
        send(&channel, ("by-key", "k"), "key", persistent()).await;
        send(&channel, ("", "late"), "dead-lettered", persistent()).await;
        send(&channel, ("by-topic", "bills"), "alternate", persistent()).await;
        let taken = host.take(4).await;
        assert_eq!(
            payloads(&taken),
            ["dead-lettered", "header", "key", "topic"]
        );
        host.accept(taken).await;
        server.until("lost", |d| d.ready == round + 1).await;
        if round == 0 {
            for exchange in ["by-topic", "by-header", "by-key"] {
                let options = ExchangeDeleteOptions::default();
                let deleted = channel.exchange_delete(exchange.into(), options).await;
                deleted.expect("deleted");
            }
            let options = QueueDeleteOptions::default();
            let deleted = channel.queue_delete("in".into(), options).await;
            deleted.expect("deleted");
            until("the loss is seen", || host.broker.health() != Health::Ready).await;
            host.ready().await;
        }
    }
    // Urgent ones first.
    for (payload, priority) in [("low", 1), ("high", 5)] {
        let properties = persistent().with_priority(priority);
        send(&channel, ("", "urgent"), payload, properties).await;
    }
    let first = channel.basic_get("urgent".into(), Default::default()).await;
    assert_eq!(first.expect("asked").expect("a message").data, b"high");
    nothing_left(&server, "in").await;
}

/// What exists otherwise is left as it is. The server is not asked over and over, and its reason is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_exists_otherwise_is_left_as_it_is() {
    let server = RabbitServer::start().await;
    server.declare("in", "classic", &[]).await;
    let declare = serde_json::json!({
        "queues": { "in": { "kind": "classic", "max_length": 5 } },
        "exchanges": { "amq-like": { "kind": "topic" } },
    });
    let (_connection, channel) = server.client().await;
    publish(&channel, "in", "a", persistent()).await;
    let mut host_ = host_with(declaring(&server.url(), declare), spec("in")).await;
    let taken = host_.take(1).await;
    host_.accept(taken).await;
    host_.ready().await;
    // Once by each of its two connections.
    let asked = || {
        server
            .logged()
            .matches("inequivalent arg 'x-max-length'")
            .count()
    };
    until("it was asked for by both", || asked() >= 2).await;
    host_.stop().await;
    assert_eq!(asked(), 2);

    // With an order promise nobody knows what would be broken: it is not read.
    let sac = serde_json::json!({
        "queues": { "in": { "kind": "classic", "single_active_consumer": true } },
    });
    publish(&channel, "in", "b", persistent()).await;
    let ordered = wharf::ports::SubscriptionSpec {
        ordered: true,
        ..spec("in")
    };
    let mut host = host_with(declaring(&server.url(), sac), ordered.clone()).await;
    let said = || match host.broker.health() {
        Health::Waiting(reason) => {
            reason.contains("queue `in` cannot be made: PRECONDITION_FAILED")
                && reason.contains("x-single-active-consumer")
                && reason.contains("; have `declare` say what is there")
        }
        Health::Ready => false,
    };
    until("the server's words are seen", said).await;
    server
        .until("in", |d| d.ready == 1 && d.consumers == 0)
        .await;
    let options = QueueDeleteOptions::default();
    channel
        .queue_delete("in".into(), options)
        .await
        .expect("deleted");
    host.ready().await;
    publish(&channel, "in", "c", persistent()).await;
    let taken = host.take(1).await;
    assert_eq!(payloads(&taken), ["c"]);
    host.accept(taken).await;
    host.stop().await;

    // Where the queue is not declared so, nothing is even tried.
    let broker = host_with(RabbitMq::new(server.url()), spec("in"))
        .await
        .broker;
    let refused = broker
        .subscribe(ordered, wharf::delivery::Inbox::new())
        .await;
    let refused = refused.err().expect("refused").to_string();
    assert!(
        refused.contains("single_active_consumer: true"),
        "{refused}"
    );
}

/// A queue of dead letters is made by the host, unless it is there, whatever it is like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_of_dead_letters_are_made_where_they_are_missing() {
    let server = RabbitServer::start().await;
    server.declare("in", "classic", &[]).await;
    let ttl = [("x-message-ttl", AMQPValue::LongLongInt(60_000))];
    server.declare("theirs", "classic", &ttl).await;
    let host = host_with(config(&server.url(), KINDS[0]), spec("in")).await;
    let letters = [output("ours", "1"), output("theirs", "2")];
    for letter in &letters {
        host.broker.keep_dead_letters(&letter.destination);
    }
    host.ready().await;
    let send = async || {
        let refs: Vec<_> = letters.iter().collect();
        host.broker.publisher().publish(&refs).await
    };
    assert_eq!(send().await, [Ok(()), Ok(())]);
    // It is missed when something is to be put into it, and made anew.
    let (_connection, channel) = server.client().await;
    let options = QueueDeleteOptions::default();
    channel
        .queue_delete("ours".into(), options)
        .await
        .expect("deleted");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while send().await[0].is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it is not made again"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    server.until("ours", |d| d.ready == 1).await;
    assert_eq!(server.logged().matches("inequivalent").count(), 0);
}
