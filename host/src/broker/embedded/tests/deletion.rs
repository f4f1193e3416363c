//! When messages go.

use std::time::Duration;

use super::support::*;
use crate::broker::embedded::Embedded;
use crate::ports::Broker as _;

async fn left(broker: &Embedded, topic: &str) -> usize {
    broker.browse(topic, 1, 10_000).await.unwrap().len()
}

#[tokio::test]
async fn a_message_goes_once_every_group_has_settled_it() {
    let place = Place::new();
    let broker = place.owner();
    let mut one = Reading::open(&broker, spec("in", "one")).await;
    let mut two = Reading::open(&broker, spec("in", "two")).await;
    let mut urgent = text("urgent");
    urgent.priority = Some(3);
    publish(&broker, "in", vec![text("a"), urgent, text("b")]).await;
    let taken = one.fetch_all(3).await;
    one.accept(&taken).await;
    let taken = two.fetch_all(3).await;
    two.accept(&taken[..1]).await;
    eventually("the one that both settled is gone", async || {
        left(&broker, "in").await == 2
    })
    .await;
    assert_eq!(payloads(&taken)[0], "urgent");
    two.accept(&taken[1..]).await;
    eventually("all are gone", async || left(&broker, "in").await == 0).await;
    // Sequences are not used again.
    publish_texts(&broker, "in", &["c"]).await;
    assert_eq!(broker.browse("in", 1, 1).await.unwrap()[0].seq, 4);
}

#[tokio::test]
async fn thousands_go_while_there_is_work() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    publish(
        &broker,
        "in",
        (0..5000).map(|i| text(&i.to_string())).collect(),
    )
    .await;
    let taken = reading.fetch_all(5000).await;
    // Not in order, with holes that stay.
    let (even, odd): (Vec<_>, Vec<_>) = taken.into_iter().partition(|p| p.token.0 % 2 == 0);
    reading.accept(&even).await;
    eventually("every other one is gone", async || {
        left(&broker, "in").await == 2500
    })
    .await;
    reading.accept(&odd).await;
    eventually("all are gone", async || left(&broker, "in").await == 0).await;
}

#[tokio::test]
async fn a_topic_without_groups_and_what_is_older_than_all_groups_stays() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "kept", &["a"]).await;
    publish_texts(&broker, "in", &["older"]).await;
    let mut late = spec("in", "late");
    late.from_start = false;
    let mut reading = Reading::open(&broker, late).await;
    publish_texts(&broker, "in", &["newer"]).await;
    let taken = reading.fetch(1).await;
    reading.accept(&taken).await;
    eventually("the settled one is gone", async || {
        left(&broker, "in").await == 1
    })
    .await;
    broker.close().await;
    drop((broker, reading));
    // The first pass of a new owner follows the same rule.
    let broker = place.owner();
    tokio::time::sleep(NEVER).await;
    assert_eq!(
        (left(&broker, "kept").await, left(&broker, "in").await),
        (1, 1)
    );
}

#[tokio::test]
async fn what_was_settled_and_not_yet_deleted_goes_with_the_next_owner() {
    let place = Place::new();
    let mut options = place.options();
    // Kept, so that it is certainly still there when this owner ends.
    options.retention = Some(Duration::from_secs(3600));
    let broker = Embedded::open_owner("events", &options).unwrap();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    publish(
        &broker,
        "in",
        (0..2500).map(|i| text(&i.to_string())).collect(),
    )
    .await;
    let taken = reading.fetch_all(2500).await;
    reading.accept(&taken[1..]).await;
    tokio::time::sleep(NEVER).await;
    assert_eq!(left(&broker, "in").await, 2500);
    broker.close().await;
    drop((broker, reading));
    let broker = place.owner();
    eventually("only what is in hand is left", async || {
        left(&broker, "in").await == 1
    })
    .await;
}

#[tokio::test]
async fn retention_keeps_settled_messages_for_a_while() {
    let place = Place::new();
    let mut options = place.options();
    options.retention = Some(Duration::from_millis(1500));
    let broker = Embedded::open_owner("events", &options).unwrap();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let published = tokio::time::Instant::now();
    publish_texts(&broker, "in", &["settled", "pending"]).await;
    let taken = reading.fetch_all(2).await;
    reading.accept(&taken[..1]).await;
    eventually("the settled one is gone", async || {
        left(&broker, "in").await == 1
    })
    .await;
    assert!(published.elapsed() >= Duration::from_millis(1490));
    // What nobody has settled stays, however old.
    assert_eq!(
        broker.browse("in", 1, 1).await.unwrap()[0].payload,
        "pending"
    );
}
