//! Servers that are not there, go, come back and change; handlers that are slow.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::AdminOptions;
use tokio::time::Instant;
use wharf::config::kafka::{Kafka, Property};
use wharf::ports::{Broker as _, Health, PublishError, SettleError};
use wharf_tests::kafka_server::KafkaServer;
use wharf_tests::ports::free_port;
use wharf_tests::proxy::Proxy;

use crate::ground::Ground;
use crate::support::*;
use crate::worker::{Seen, Worker, check_order, until_seen};

/// Publishes these numbers, each until it is confirmed, as the host does.
async fn insist(broker: &wharf::broker::kafka::KafkaBroker, topic: &str, all: usize) {
    for from in (0..all).step_by(50) {
        let mut left: Vec<usize> = (from..from + 50).collect();
        while !left.is_empty() {
            let results = publish(broker, topic, left.iter().copied().map(numbered)).await;
            let mut results = results.into_iter();
            left.retain(|_| match results.next() {
                Some(Err(PublishError::Destination(_))) => true,
                Some(Err(error)) => panic!("{error}"),
                _ => false,
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_absent_at_the_start_is_waited_for_and_said() {
    let mut server = KafkaServer::absent(&[]);
    let kafka = Kafka {
        delivery_timeout: Duration::from_secs(20),
        ..Kafka::new(server.bootstrap())
    };
    let mut host = host_of(&kafka, spec_of("absent")).await;
    let said = host.says(&["bootstrap_servers"]).await;
    assert!(said.contains("kafka"), "{said}");
    server.run().await;
    let ground = Ground::at(Arc::new(server), "absent", 1).await;
    ground.fill(&host.broker, 0..3).await;
    let three = host.take(3).await;
    host.accept(three).await;
    health(&host.broker, |health| *health == Health::Ready).await;
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_a_network_that_is_cut_lose_nothing() {
    const ALL: usize = 3000;
    let mut server = KafkaServer::absent(&[]);
    let proxy = Proxy::start(server.port()).await;
    server.advertise(proxy.port());
    server.run().await;
    let mut ground = Ground::at(Arc::new(server), "cut", 3).await;
    let kafka = Kafka {
        delivery_timeout: Duration::from_secs(5),
        ..ground.kafka()
    };
    let seen = Seen::default();
    let worker = Worker::start(host_of(&kafka, ground.spec()).await, &seen);
    let writer = wharf::broker::kafka::KafkaBroker::open("bus", &kafka).expect("opened");
    let writing = {
        let topic = ground.topic.clone();
        tokio::spawn(async move {
            insist(&writer, &topic, ALL).await;
        })
    };
    until_seen(&seen, ALL / 10).await;
    proxy.cut();
    until_seen(&seen, ALL / 5).await;
    proxy.refuse();
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.heal();
    until_seen(&seen, ALL / 3).await;
    let server = Arc::get_mut(&mut ground.server).expect("the test's own");
    server.restart().await;
    let back = Instant::now();
    let before = seen.lock().len();
    until_seen(&seen, ALL.min(before + 1)).await;
    println!("going on {:?} after the restart", back.elapsed());
    writing.await.expect("written");
    until_seen(&seen, ALL).await;
    worker.stop().await;
    check_order(&seen);
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_and_made_again_is_read_from_its_new_beginning() {
    let ground = Ground::new("deleted", 1).await;
    let mut host = ground.host().await;
    ground.fill(&host.broker, 0..10).await;
    let ten = host.take(10).await;
    host.accept(ten).await;
    let held = {
        ground.fill(&host.broker, 10..11).await;
        host.take(1).await
    };
    let deleted = ground
        .admin()
        .delete_topics(&[&*ground.topic], &AdminOptions::new())
        .await;
    deleted.expect("an answer")[0].as_ref().expect("deleted");
    host.says(&["deleted", "`declare`"]).await;
    ground.make(&ground.topic, 1).await;
    let writer = ground.broker();
    insist(&writer, &ground.topic, 50).await;
    let new = host.take(50).await;
    // What was in hand settles nothing of the new topic, where another message is at its offset.
    let (_, results) = host.try_accept(held).await;
    assert!(
        matches!(results[..], [Err(SettleError::Fenced(_))]),
        "{results:?}"
    );
    let mut ids = host.accept(new).await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 50);
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_unseen_and_larger_is_read_whole() {
    let mut server = KafkaServer::absent(&[]);
    let at = free_port();
    let proxy = Proxy::start_at(at, server.listen_behind(at)).await;
    server.run().await;
    let ground = Ground::at(Arc::new(server), "swapped", 1).await;
    let kafka = Kafka::new(format!("127.0.0.1:{at}"));
    let mut host = host_of(&kafka, ground.spec()).await;
    ground.fill(&host.broker, 0..10).await;
    let ten = host.take(10).await;
    host.accept(ten).await;
    proxy.refuse();
    let deleted = ground
        .admin()
        .delete_topics(&[&*ground.topic], &AdminOptions::new())
        .await;
    deleted.expect("an answer")[0].as_ref().expect("deleted");
    ground.make(&ground.topic, 1).await;
    ground.fill(&ground.broker(), 100..400).await;
    proxy.heal();
    let began = Instant::now();
    let mut ids = std::collections::BTreeSet::new();
    // What was read at the old offset comes again.
    while ids.len() < 300 || ground.lag().await > 0 {
        let some = host.take_within(Duration::from_millis(500)).await;
        ids.extend(host.try_accept(some).await.0.into_iter().map(|m| m.id));
        assert!(began.elapsed() < PATIENCE, "{} came", ids.len());
    }
    assert!(ids.iter().all(|id| id.len() == 4), "only new ones: {ids:?}");
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_slower_than_kafkas_patience_is_not_interrupted() {
    let ground = Ground::new("slow", 1).await;
    let mut kafka = ground.kafka();
    kafka.session_timeout = Some(Duration::from_secs(2));
    let patience = Property("3000".into());
    kafka
        .properties
        .insert("max.poll.interval.ms".into(), patience);
    let mut host = host_of(&kafka, ground.spec()).await;
    // More than the host takes at once, so that the partition is full, too.
    ground.fill(&host.broker, 0..1500).await;
    let slow = host.take(1).await;
    // That is how long the handler takes.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(host.broker.health(), Health::Ready);
    assert_eq!(host.accept(slow).await, ["m0"]);
    let mut came = 1;
    while came < 1500 {
        let some = host.take(1).await;
        let rest = host.take_within(Duration::from_millis(200)).await;
        for id in [host.accept(some).await, host.accept(rest).await].concat() {
            assert_ne!(id, "m0", "it did not come twice");
            came += 1;
        }
    }
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_lose_nothing_with_one_of_them() {
    const ALL: usize = 2000;
    let servers = Arc::new(KafkaServer::start_three().await);
    let mut ground = Ground::at(servers, "three", 6).await;
    let seen = Seen::default();
    let worker = Worker::start(ground.host().await, &seen);
    let (writer, topic) = (ground.broker(), ground.topic.clone());
    let writing = tokio::spawn(async move { insist(&writer, &topic, ALL).await });
    until_seen(&seen, ALL / 4).await;
    let servers = Arc::get_mut(&mut ground.server).expect("the test's own");
    servers.kill_one(0);
    writing.await.expect("written");
    until_seen(&seen, ALL).await;
    worker.stop().await;
    check_order(&seen);
    assert_eq!(ground.lag().await, 0);
}
