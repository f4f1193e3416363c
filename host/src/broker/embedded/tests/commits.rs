//! Outputs and settlement in one transaction: completely or not at all.

use super::support::*;
use crate::commit::Settlement;
use crate::message::Outgoing;
use crate::place::PlaceKind;
use crate::ports::{Broker as _, Committed, PublishError, SettleError};

#[tokio::test]
async fn outputs_and_settlement_happen_together() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let parcel = reading.fetch(1).await.remove(0);
    let mut elsewhere = publication("out", text("two"));
    elsewhere.message.topic = Some("override".into());
    let outputs = vec![publication("out", text("one")), elsewhere];
    assert_eq!(
        reading.commit(parcel, outputs, Settlement::Accept).await,
        Committed::Done
    );
    let bodies = async |topic| -> Vec<_> {
        let found = broker.browse(topic, 1, 10).await.unwrap();
        found.into_iter().map(|m| m.payload).collect()
    };
    assert_eq!(bodies("out").await, ["one"]);
    assert_eq!(bodies("override").await, ["two"]);
    reading.nothing().await;
}

#[tokio::test]
async fn one_bad_commit_of_a_batch_is_undone_alone() {
    let place = Place::new();
    let mut options = place.options();
    options.max_message = crate::config::ByteSize::parse("1KiB").unwrap();
    let broker = crate::broker::embedded::Embedded::open_owner("events", &options).unwrap();
    publish_texts(&broker, "in", &["fine", "large", "stale"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let parcels = reading.fetch_all(3).await;
    // Accepted behind the committer's back: its commit comes too late.
    reading.accept(&parcels[2..]).await;
    let large = Outgoing {
        payload: vec![0; 2000].into(),
        ..text("large")
    };
    let commits: Vec<_> = parcels
        .into_iter()
        .map(|parcel| {
            let name = payload(&parcel.message);
            let mut outputs = vec![publication("out", text(&name))];
            if name == "large" {
                outputs.push(publication("out", large.clone()));
            }
            commit(parcel, outputs, Settlement::Accept)
        })
        .collect();
    let batch: Vec<_> = commits.iter().collect();
    let results = reading.settler.commit(&batch).await;
    assert_eq!(results[0], Committed::Done);
    assert!(
        matches!(&results[1], Committed::NotPublished(1, PublishError::Message(why)) if why.contains("1024")),
        "{results:?}"
    );
    assert!(
        matches!(results[2], Committed::NotSettled(SettleError::Fenced(_))),
        "{results:?}"
    );
    let out = broker.browse("out", 1, 10).await.unwrap();
    assert_eq!(out.len(), 1, "{out:?}");
    assert_eq!(out[0].payload, "fine");
    // Still in hand, and can still be settled.
    let large = &commits[1].parcel;
    reading.release(large, None, 0).await;
    assert_eq!(payloads(&reading.fetch(1).await), ["large"]);
}

#[tokio::test]
async fn only_its_own_file_is_atomic_with_it() {
    let place = Place::new();
    let broker = place.owner();
    let reading = Reading::open(&broker, spec("in", "g")).await;
    let mut elsewhere = (*to("out")).clone();
    assert!(reading.settler.atomic_with(&elsewhere));
    elsewhere.broker = "another".into();
    assert!(!reading.settler.atomic_with(&elsewhere));
    assert!(broker.capabilities(PlaceKind::Topic).atomic);
}

#[tokio::test]
async fn a_message_that_is_too_large_fails_alone() {
    let place = Place::new();
    let mut options = place.options();
    options.max_message = crate::config::ByteSize::parse("1KiB").unwrap();
    let broker = crate::broker::embedded::Embedded::open_owner("events", &options).unwrap();
    let large = Outgoing {
        payload: vec![0; 1025].into(),
        ..text("large")
    };
    let nameless = publication("", text("nameless"));
    let raw = Outgoing {
        raw_headers: vec![(b"\xff".as_slice().into(), vec![0; 1025].into())],
        ..text("raw")
    };
    let batch = [
        publication("out", text("a")),
        publication("out", large),
        publication("out", text("b")),
        nameless,
        publication("out", raw),
    ];
    let results = broker
        .publisher()
        .publish(&batch.iter().collect::<Vec<_>>())
        .await;
    assert!(
        matches!(results[1], Err(PublishError::Message(_))),
        "{results:?}"
    );
    assert!(
        matches!(results[3], Err(PublishError::Message(_))),
        "{results:?}"
    );
    assert!(
        matches!(results[4], Err(PublishError::Message(_))),
        "{results:?}"
    );
    assert_eq!((&results[0], &results[2]), (&Ok(()), &Ok(())));
    assert_eq!(broker.browse("out", 1, 10).await.unwrap().len(), 2);
}
