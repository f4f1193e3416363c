//! What is wrong is said in the server's words, with what to change, and nothing spins.

use std::time::Duration;

use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use wharf::broker::kafka::KafkaBroker;
use wharf::config::kafka::{Cleanup, Kafka, Property, Topic};
use wharf::ports::{Broker as _, Health, PublishError, SubscriptionSpec};
use wharf_tests::host::{Place, eventually};
use wharf_tests::kafka_server::KafkaServer;
use wharf_tests::ports::free_port;

use crate::ground::{Ground, foreign};
use crate::support::*;

/// CPU time of a process so far.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let after = stat.rsplit(')').next().expect("its fields");
    let ticks: Vec<u64> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse().expect("a number"))
        .collect();
    Duration::from_millis(ticks.iter().sum::<u64>() * 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_said_and_waited_for() {
    let kafka = Kafka::new(format!("127.0.0.1:{}", free_port()));
    let host = host_of(&kafka, spec_of("nobody")).await;
    host.says(&["bootstrap_servers"]).await;
    host.stop().await;
}

/// The program, as a process of its own: in this one other tests are at work.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_waited_for_without_spinning() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let port = free_port();
    place.configure(&format!(
        "brokers:\n  bus: {{ type: kafka, bootstrap_servers: \"127.0.0.1:{port}\" }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    \
         subscribe: {{ in: {{ broker: bus, topic: nobody }} }}\n"
    ));
    let host = place.run().await;
    eventually("it says what is wrong", PATIENCE, async || {
        host.said().contains("bootstrap_servers").then_some(())
    })
    .await;
    let (before, wait) = (cpu(host.pid()), Duration::from_secs(3));
    tokio::time::sleep(wait).await;
    let used = cpu(host.pid()) - before;
    // A thread that spins uses all of it, or half where the cores are busy with other tests; trying again now and then
    // takes some hundredths.
    assert!(used < wait / 4, "{used:?} of {wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_said_and_waited_for() {
    let ground = Ground::new("there", 1).await;
    let missing = SubscriptionSpec {
        address: "not-there".into(),
        ..ground.spec()
    };
    let mut host = ground.host_with(missing).await;
    host.says(&["not-there", "`declare`"]).await;
    let results = publish(&host.broker, "not-there", [numbered(0)]).await;
    match &results[0] {
        Err(PublishError::Destination(said)) => {
            assert!(
                said.contains("not-there") && said.contains("`declare`"),
                "{said}"
            );
        }
        other => panic!("{other:?}"),
    }
    ground.make("not-there", 1).await;
    let writer = ground.broker();
    for result in publish(&writer, "not-there", [numbered(1)]).await {
        result.expect("published");
    }
    let one = host.take(1).await;
    host.accept(one).await;
    health(&host.broker, |health| *health == Health::Ready).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_shares_by_another_protocol_is_said() {
    let ground = Ground::new("other-protocol", 1).await;
    let other: BaseConsumer = foreign(&ground.server.bootstrap(), &ground.group)
        .set("partition.assignment.strategy", "range")
        .create()
        .expect("a client");
    other.subscribe(&[&*ground.topic]).expect("subscribed");
    let member = || other.assignment().is_ok_and(|list| list.count() > 0);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !member() {
        assert!(tokio::time::Instant::now() < deadline, "it does not join");
        drop(other.poll(Duration::from_millis(20)));
    }
    let mut host = ground.host().await;
    host.says(&["cooperative-sticky", "`group`"]).await;
    // Once the other is gone, the group is ours.
    drop(other);
    ground.fill(&host.broker, 0..1).await;
    let one = host.take(1).await;
    host.accept(one).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_topics_are_made_and_those_that_exist_are_left_as_they_are() {
    let ground = Ground::new("exists", 2).await;
    let mut kafka = ground.kafka();
    let made = Topic {
        partitions: 3,
        retention: Some(Duration::from_secs(3600)),
        cleanup: Cleanup::CompactDelete,
        properties: [(
            "min.cleanable.dirty.ratio".to_owned(),
            Property("0.25".into()),
        )]
        .into(),
        ..Topic::default()
    };
    kafka.declare.insert("made".into(), made);
    kafka.declare.insert("exists".into(), Topic::default());
    let spec = SubscriptionSpec {
        address: "made".into(),
        ..ground.spec()
    };
    let mut host = host_of(&kafka, spec).await;
    let last = |n| wharf::message::Outgoing {
        partition: Some(2),
        ..numbered(n)
    };
    for result in publish(&host.broker, "made", [last(0)]).await {
        result.expect("published, to its third partition");
    }
    let one = host.take(1).await;
    host.accept(one).await;
    health(&host.broker, |health| *health == Health::Ready).await;
    let admin = ground.admin();
    let of_made = ResourceSpecifier::Topic("made");
    let described = admin
        .describe_configs([&of_made], &AdminOptions::new())
        .await;
    let described = described.expect("an answer").remove(0).expect("described");
    let value = |key: &str| described.get(key).and_then(|entry| entry.value.clone());
    assert_eq!(value("retention.ms").as_deref(), Some("3600000"));
    assert_eq!(value("cleanup.policy").as_deref(), Some("compact,delete"));
    assert_eq!(value("min.cleanable.dirty.ratio").as_deref(), Some("0.25"));
    let metadata = admin.inner().fetch_metadata(Some("exists"), PATIENCE);
    let metadata = metadata.expect("an answer");
    assert_eq!(metadata.topics()[0].partitions().len(), 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_declared_is_said() {
    let ground = Ground::new("too-many", 1).await;
    let mut kafka = ground.kafka();
    let topic = Topic {
        replication: Some(3),
        ..Topic::default()
    };
    kafka.declare.insert("replicated".into(), topic);
    let broker = KafkaBroker::open("bus", &kafka).expect("opened");
    let said = health(&broker, |health| match health {
        Health::Waiting(reason) => reason.contains("`replicated`"),
        Health::Ready => false,
    });
    let Health::Waiting(said) = said.await else {
        panic!("it is not ready");
    };
    assert!(said.contains("fewer brokers than `replication`"), "{said}");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_the_client_does_not_know_is_refused() {
    let mut kafka = Kafka::new("127.0.0.1:9092");
    kafka
        .properties
        .insert("fetch.mni.bytes".into(), Property("1".into()));
    let Err(error) = KafkaBroker::open("bus", &kafka) else {
        panic!("it is refused");
    };
    assert!(error.to_string().contains("fetch.mni.bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_short_texts_is_given_short_ones() {
    let mut server = KafkaServer::absent(&["offset.metadata.max.bytes=100"]);
    server.run().await;
    let ground = Ground::at(std::sync::Arc::new(server), "short", 1).await;
    let mut host = ground.host().await;
    ground.fill(&host.broker, 0..40).await;
    let all = host.take(40).await;
    host.retry(all, 3, Duration::from_millis(500)).await;
    ground
        .text_is(|text| text.contains(" 0:3") && text.len() <= 100)
        .await;
    let all = host.take(40).await;
    host.accept(all).await;
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}
