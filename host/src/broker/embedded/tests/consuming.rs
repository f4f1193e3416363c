//! Fetching: who gets what, when, and what a cancelled fetch leaves behind.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::support::*;
use crate::broker::embedded::Embedded;
use crate::commit::Settlement;
use crate::message::Outgoing;
use crate::ports::{Broker as _, Lag, Room, SettleError};

#[tokio::test]
async fn what_is_published_is_fetched_once_and_settled() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a", "b"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let parcels = reading.fetch(10).await;
    assert_eq!(payloads(&parcels), ["a", "b"]);
    let message = &parcels[0].message;
    assert_eq!((message.deliveries, message.attempts), (1, 0));
    assert_eq!(&*message.origin.position, "1");
    assert_eq!(message.origin.group.as_deref(), Some("g"));
    reading.accept(&parcels).await;
    reading.nothing().await;
    assert_eq!(broker.lag(&spec("in", "g")).await.unwrap(), Lag::default());
}

#[tokio::test]
async fn every_group_gets_every_message() {
    let place = Place::new();
    let broker = place.owner();
    let mut one = Reading::open(&broker, spec("in", "one")).await;
    let mut two = Reading::open(&broker, spec("in", "two")).await;
    publish_texts(&broker, "in", &["a", "b", "c"]).await;
    let taken = one.fetch_all(3).await;
    one.accept(&taken).await;
    assert_eq!(payloads(&two.fetch_all(3).await), ["a", "b", "c"]);
    one.nothing().await;
}

#[tokio::test]
async fn a_group_that_does_not_start_at_the_start_sees_only_what_comes() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["old"]).await;
    let mut late = spec("in", "late");
    late.from_start = false;
    let mut reading = Reading::open(&broker, late).await;
    publish_texts(&broker, "in", &["new"]).await;
    assert_eq!(payloads(&reading.fetch(10).await), ["new"]);
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_a_publication() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let (found, ()) = tokio::join!(reading.fetch(10), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        publish_texts(&broker, "in", &["a"]).await;
    });
    assert_eq!(payloads(&found), ["a"]);
}

#[tokio::test]
async fn a_delayed_message_comes_when_it_is_due_and_holds_nothing_up() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let mut later = text("later");
    later.delay_ms = Some(300);
    let published = tokio::time::Instant::now();
    publish(&broker, "in", vec![later, text("now")]).await;
    assert_eq!(payloads(&reading.fetch(10).await), ["now"]);
    assert_eq!(payloads(&reading.fetch(10).await), ["later"]);
    assert!(published.elapsed() >= Duration::from_millis(299));
}

#[tokio::test]
async fn a_group_made_later_still_gets_delayed_and_prioritised_messages() {
    let place = Place::new();
    let broker = place.owner();
    let (mut later, mut first) = (text("later"), text("first"));
    later.delay_ms = Some(200);
    first.priority = Some(1);
    publish(&broker, "in", vec![later, text("plain"), first]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    assert_eq!(payloads(&reading.fetch(10).await), ["first", "plain"]);
    assert_eq!(payloads(&reading.fetch(10).await), ["later"]);
}

#[tokio::test]
async fn a_time_limit_is_passed_on_and_drops_nothing() {
    let place = Place::new();
    let broker = place.owner();
    let mut brief = text("brief");
    brief.ttl_ms = Some(1);
    publish(&broker, "in", vec![brief]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch(1).await;
    let message = &found[0].message;
    assert_eq!(message.expires_at_ms, Some(message.timestamp_ms + 1));
}

#[tokio::test]
async fn bytes_bound_a_fetch_but_let_one_large_message_through() {
    let place = Place::new();
    let broker = place.owner();
    let large = |id: &str| Outgoing {
        id: Some(id.to_owned().into()),
        payload: vec![0; 10_000].into(),
        ..Outgoing::default()
    };
    publish(
        &broker,
        "in",
        (0..6).map(|i| large(&i.to_string())).collect(),
    )
    .await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    for (bytes, expected) in [(1, 1), (25_000, 3), (1 << 20, 2)] {
        let room = Room {
            messages: 10,
            bytes,
        };
        let found = reading.source.fetch(room).await.unwrap();
        assert_eq!(reading.unwrap(found).len(), expected, "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_cancelled_fetch_loses_nothing() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let payloads_in: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let mut got = Vec::new();
    for payload in &payloads_in {
        publish_texts(&broker, "in", &[payload]).await;
        // Polled once: the request is with the writer and the future is gone.
        if let Some(found) = reading.source.fetch(room(10)).now_or_never() {
            got.extend(reading.unwrap(found.unwrap()));
        }
    }
    while got.len() < payloads_in.len() {
        got.extend(reading.fetch(10).await);
    }
    assert!(got.iter().all(|parcel| parcel.message.deliveries == 1));
    assert_eq!(payloads(&got), payloads_in);
}

/// Waits until so many messages are in hand.
async fn in_hand(broker: &Embedded, expected: i64) {
    eventually("messages are released", async || {
        let count = broker.reader.query(|conn| {
            let sql = "SELECT count(*) FROM pending WHERE state = 0";
            conn.query_row(sql, [], |row| row.get::<_, i64>(0))
        });
        count.await.unwrap() == expected
    })
    .await;
}

#[tokio::test]
async fn what_a_dropped_source_had_taken_comes_to_the_next_one() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a", "b"]).await;
    let mut first = Reading::open(&broker, spec("in", "g")).await;
    // Polled once and cancelled; should the writer have been quicker than that, once more.
    while let Some(found) = first.source.fetch(room(10)).now_or_never() {
        for parcel in first.unwrap(found.unwrap()) {
            first.release(&parcel, None, 0).await;
        }
    }
    drop(first.source);
    // No new subscription, which would take everything back: the release alone is looked for.
    in_hand(&broker, 0).await;
    let mut second = Reading::open(&broker, spec("in", "g")).await;
    assert_eq!(payloads(&second.fetch_all(2).await), ["a", "b"]);
}

#[tokio::test]
async fn what_arrived_and_was_not_handed_over_is_released_with_the_source() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a", "b", "c"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    // A cancelled fetch asked for three; the next one has room for one.
    while let Some(found) = reading.source.fetch(room(3)).now_or_never() {
        for parcel in reading.unwrap(found.unwrap()) {
            reading.release(&parcel, None, 0).await;
        }
    }
    assert_eq!(payloads(&reading.fetch(1).await), ["a"]);
    in_hand(&broker, 3).await;
    drop(reading.source);
    in_hand(&broker, 1).await;
}

#[tokio::test]
async fn a_delivery_is_settled_once() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch(1).await;
    reading.accept(&found).await;
    let again = reading.settle(&found[0], Settlement::Accept).await;
    assert!(matches!(again, Err(SettleError::Fenced(_))), "{again:?}");
}

#[tokio::test]
async fn an_owner_that_was_replaced_is_fenced() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let mut stale = Reading::open(&broker, spec("in", "g")).await;
    let old = stale.fetch(1).await;
    let mut current = Reading::open(&broker, spec("in", "g")).await;
    let new = current.fetch(1).await;
    assert_eq!(new[0].message.deliveries, 2);
    for settlement in [
        Settlement::Accept,
        Settlement::Release {
            after: None,
            attempts: 0,
            first_failed_ms: None,
        },
    ] {
        let late = stale.settle(&old[0], settlement).await;
        assert!(matches!(late, Err(SettleError::Fenced(_))), "{late:?}");
    }
    current.accept(&new).await;
}
