//! Releases, counts, and a subscription's own second topic.

use std::time::Duration;

use super::support::*;
use crate::broker::embedded::retry_topic;
use crate::commit::Settlement;
use crate::ports::{Broker as _, Committed, Lag, Settle};

#[tokio::test]
async fn counts_come_back_with_a_released_message() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    for round in 1..=4 {
        let found = reading.fetch(1).await;
        let message = &found[0].message;
        // A release is an outcome: only deliveries without one are counted.
        assert_eq!((message.deliveries, message.attempts), (1, round - 1));
        assert_eq!(&*message.id, "a");
        reading.release(&found[0], None, round).await;
    }
}

#[tokio::test]
async fn a_delayed_release_waits_and_then_wakes_the_fetch() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch(1).await;
    let released = tokio::time::Instant::now();
    reading
        .release(&found[0], Some(Duration::from_millis(250)), 2)
        .await;
    assert_eq!(
        broker.lag(&spec("in", "g")).await.unwrap(),
        Lag {
            waiting: 0,
            pending: 1
        }
    );
    let again = reading.fetch(1).await;
    assert!(released.elapsed() >= Duration::from_millis(249));
    assert_eq!(again[0].message.attempts, 2);
}

#[tokio::test]
async fn only_the_subscription_sees_its_retry_topic() {
    let place = Place::new();
    let broker = place.owner();
    let mut mine = Reading::open(&broker, spec("in", "mine")).await;
    let mut theirs = {
        let mut other = spec("in", "theirs");
        other.plugin = "other".into();
        Reading::open(&broker, other).await
    };
    // Nobody has made it yet; both fetches have looked.
    mine.nothing().await;
    let retry = retry_topic("sub", "plug");
    publish_texts(&broker, &retry, &["again"]).await;
    publish_texts(&broker, "in", &["new"]).await;
    let mut found = mine.fetch_all(2).await;
    found.sort_by_key(|parcel| payload(&parcel.message));
    assert_eq!(payloads(&found), ["again", "new"]);
    assert_eq!(&*found[0].message.origin.source, retry);
    assert_eq!(&*found[0].message.topic, "in");
    assert_eq!(payloads(&theirs.fetch(10).await), ["new"]);
    theirs.nothing().await;
    // Both have sequence 1, each in its own topic: settling one leaves the other.
    mine.accept(&found[..1]).await;
    mine.release(&found[1], None, 1).await;
    assert_eq!(payloads(&mine.fetch(10).await), ["new"]);
}

#[tokio::test]
async fn a_full_retry_topic_and_a_full_topic_take_turns() {
    let place = Place::new();
    let broker = place.owner();
    let many: Vec<_> = (0..20).map(|i| i.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    publish_texts(&broker, "in", &many).await;
    publish_texts(&broker, &retry_topic("sub", "plug"), &many).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let (a, b) = (reading.fetch(1).await, reading.fetch(1).await);
    assert_ne!(a[0].message.origin.source, b[0].message.origin.source);
}

#[tokio::test]
async fn a_parked_retry_is_a_commit_with_a_release() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let parcel = reading.fetch(1).await.remove(0);
    let release = Settlement::Release {
        after: Some(Duration::from_millis(50)),
        attempts: 3,
        first_failed_ms: Some(1_700_000_000_000),
    };
    assert_eq!(
        reading.commit(parcel, Vec::new(), release).await,
        Committed::Done
    );
    let again = &reading.fetch(1).await[0].message;
    assert_eq!(
        (again.attempts, again.first_failed_ms),
        (3, Some(1_700_000_000_000))
    );
}

#[tokio::test]
async fn a_fetch_that_waits_is_woken_by_a_release() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let mut found = reading.fetch(1).await;
    for after in [None, Some(Duration::from_millis(30))] {
        let release = [Settle {
            token: found[0].token,
            settlement: Settlement::Release {
                after,
                attempts: 0,
                first_failed_ms: None,
            },
        }];
        let (source, settler) = (&mut reading.source, &mut reading.settler);
        let (again, _) = tokio::join!(tokio::time::timeout(SOON, source.fetch(room(1))), async {
            // Until the fetch has looked, found nothing and waits.
            tokio::time::sleep(NEVER).await;
            settler.settle(&release).await.remove(0).unwrap();
        });
        found = reading.unwrap(again.expect("woken").unwrap());
    }
}
