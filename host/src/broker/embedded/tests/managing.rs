//! What the commands do.

use std::time::Duration;

use super::support::*;
use crate::broker::embedded::retry_topic;
use crate::message::{Header, Outgoing};
use crate::ports::{Broker as _, Lag, PublishError};

#[tokio::test]
async fn browsing_pages_and_does_not_consume() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    publish_texts(&broker, "in", &["a", "b", "c"]).await;
    publish_texts(&broker, "other", &["x"]).await;
    let page = broker.browse("in", 1, 2).await.unwrap();
    assert_eq!(page.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2]);
    let rest = broker.browse("in", 3, 2).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].payload, "c");
    for nothing in [4, u64::MAX, 1 << 40] {
        assert!(broker.browse("in", nothing, 9).await.unwrap().is_empty());
    }
    assert!(broker.browse("absent", 1, 9).await.unwrap().is_empty());
    assert_eq!(reading.fetch_all(3).await.len(), 3);
}

#[tokio::test]
async fn topics_groups_and_depths_are_counted() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let mut urgent = text("urgent");
    urgent.priority = Some(1);
    publish(&broker, "in", vec![text("a"), urgent, text("b"), text("c")]).await;
    reading.fetch_all(2).await;
    let expected = Lag {
        waiting: 2,
        pending: 2,
    };
    assert_eq!(broker.depth("in", "g").await.unwrap(), expected);
    let groups = broker.groups("in").await.unwrap();
    assert_eq!(
        (groups.len(), &*groups[0].name, groups[0].lag),
        (1, "g", expected)
    );
    let topics = broker.topics().await.unwrap();
    assert_eq!(
        (&*topics[0].name, topics[0].messages, topics[0].last_seq),
        ("in", 4, 4)
    );
    assert_eq!(broker.last_seq("in").await.unwrap(), 4);
    assert_eq!(broker.depth("in", "absent").await.unwrap(), Lag::default());
}

#[tokio::test]
async fn a_redriven_message_is_in_one_place_and_only_its_subscription_sees_it() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let mut other = {
        let mut other = spec("in", "other");
        other.plugin = "other".into();
        Reading::open(&broker, other).await
    };
    let mut letter = text("letter");
    letter.headers = vec![Header::text("wharf-cause", "rejected")];
    letter.raw_headers = vec![(b"\xff".as_slice().into(), "kept".into())];
    publish(&broker, "dlq", vec![letter, text("stays")]).await;
    let found = broker.browse("dlq", 1, 1).await.unwrap().remove(0);
    let mut again = found.to_outgoing();
    again.headers.push(Header::text("wharf-redrives", "1"));
    let retry = retry_topic("sub", "plug");
    let moves = [(found.seq, again.clone()), (99, text("never there"))];
    let moved = broker.redrive("dlq", &retry, &moves).await.unwrap();
    assert_eq!(moved, [true, false]);
    let left = broker.browse("dlq", 1, 9).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].payload, "stays");
    // Twice is once.
    assert_eq!(
        broker.redrive("dlq", &retry, &moves[..1]).await.unwrap(),
        [false]
    );
    let arrived = broker.browse(&retry, 1, 9).await.unwrap();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].to_outgoing(), again);
    assert_eq!(payloads(&reading.fetch(9).await), ["letter"]);
    other.nothing().await;
}

#[tokio::test]
async fn a_redrive_with_one_message_too_large_moves_nothing() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "dlq", &["a", "b"]).await;
    let large = Outgoing {
        payload: vec![0; place.options().max_message.as_usize() + 1].into(),
        ..text("b")
    };
    let refused = broker
        .redrive("dlq", "in", &[(1, text("a")), (2, large)])
        .await;
    assert!(
        matches!(refused, Err(PublishError::Message(_))),
        "{refused:?}"
    );
    assert_eq!(broker.browse("dlq", 1, 9).await.unwrap().len(), 2);
    assert_eq!(broker.last_seq("in").await.unwrap(), 0);
}

#[tokio::test]
async fn deleted_messages_are_gone_for_every_group() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let mut urgent = text("urgent");
    urgent.priority = Some(9);
    publish(&broker, "in", vec![text("a"), urgent, text("b")]).await;
    assert_eq!(
        broker.delete("in", &[2, 3, 17]).await.unwrap(),
        [true, true, false]
    );
    assert_eq!(payloads(&reading.fetch(9).await), ["a"]);
    reading.nothing().await;
    assert_eq!(
        broker.depth("in", "g").await.unwrap(),
        Lag {
            waiting: 0,
            pending: 1
        }
    );
}

#[tokio::test]
async fn a_purged_topic_is_empty_and_goes_on() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    publish_texts(&broker, "in", &["a", "b", "c"]).await;
    let taken = reading.fetch(1).await;
    assert_eq!(broker.purge("in").await.unwrap(), 3);
    assert_eq!(broker.purge("in").await.unwrap(), 0);
    let late = reading
        .settle(&taken[0], crate::commit::Settlement::Accept)
        .await;
    assert!(late.is_err(), "{late:?}");
    reading.nothing().await;
    publish_texts(&broker, "in", &["d"]).await;
    let found = reading.fetch(9).await;
    assert_eq!(payloads(&found), ["d"]);
    assert_eq!(&*found[0].message.origin.position, "4");
}

#[tokio::test]
async fn following_waits_for_what_comes() {
    let place = Place::new();
    let broker = place.owner();
    let (found, ()) = tokio::join!(
        async {
            tokio::time::timeout(SOON, broker.follow("in", 1, 9))
                .await
                .unwrap()
        },
        async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            publish_texts(&broker, "in", &["a"]).await;
        }
    );
    assert_eq!(found.unwrap()[0].payload, "a");
}

#[tokio::test]
async fn a_closed_broker_says_so() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    broker.close().await;
    broker.close().await;
    let refused = try_publish(&broker, "in", vec![text("a")]).await.remove(0);
    assert!(
        matches!(&refused, Err(PublishError::Destination(why)) if why.contains("closed")),
        "{refused:?}"
    );
    let fetched = tokio::time::timeout(SOON, reading.source.fetch(room(1))).await;
    assert!(fetched.unwrap().is_err());
    // The lock is free as soon as closing is done, whoever still holds a handle.
    place.owner().close().await;
}
