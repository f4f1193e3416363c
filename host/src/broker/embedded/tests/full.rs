//! No room on the disk, and one bad request among good ones.

use std::time::Duration;

use super::support::*;
use crate::broker::embedded::Embedded;
use crate::broker::embedded::job::Operation;
use crate::broker::embedded::ledger::Ledger;
use crate::commit::Settlement;
use crate::message::Outgoing;
use crate::ports::{Broker as _, Committed, Health, PublishError};

/// Limits the database to so many pages more than it has: the disk is full, as far as SQLite can see.
struct Room(i64);

impl Operation for Room {
    type Output = ();

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        let pages: i64 = ledger
            .conn
            .query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let limit = pages + self.0;
        ledger
            .conn
            .query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(()))
    }
}

async fn leave_room(broker: &Embedded, pages: i64) {
    broker.handle.call(Room(pages)).await.unwrap();
}

fn large(id: &str) -> Outgoing {
    Outgoing {
        payload: vec![b'x'; 20_000].into(),
        ..text(id)
    }
}

#[tokio::test]
async fn a_full_disk_is_said_loses_nothing_and_is_got_over() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    publish(&broker, "in", vec![large("kept"), large("used")]).await;
    let parcels = reading.fetch_all(2).await;
    leave_room(&broker, 2).await;

    let refused = try_publish(&broker, "in", vec![large("no")])
        .await
        .remove(0);
    let said = |why: &str| why.contains("disk is full");
    assert!(
        matches!(&refused, Err(PublishError::Destination(why)) if said(why)),
        "{refused:?}"
    );
    assert!(matches!(broker.health(), Health::Waiting(why) if said(&why)));

    // A commit with an output is refused whole: its message stays in hand.
    let commits: Vec<_> = parcels
        .into_iter()
        .map(|parcel| {
            commit(
                parcel,
                vec![publication("out", large("out"))],
                Settlement::Accept,
            )
        })
        .collect();
    let results = reading.settler.commit(&[&commits[0]]).await;
    assert!(
        matches!(&results[0], Committed::NotPublished(0, PublishError::Destination(why)) if said(why)),
        "{results:?}"
    );
    assert_eq!(broker.last_seq("out").await.unwrap(), 0);

    // Settling makes room, by deleting, and then there is room for the same commit.
    let accept = Settlement::Accept;
    reading.settle(&commits[1].parcel, accept).await.unwrap();
    eventually("there is room again", async || {
        let results = reading.settler.commit(&[&commits[0]]).await;
        results[0] == Committed::Done
    })
    .await;
    assert_eq!(broker.health(), Health::Ready);
    assert_eq!(broker.browse("out", 1, 9).await.unwrap().len(), 1);
    assert_eq!(broker.depth("in", "g").await.unwrap().pending, 0);
}

#[tokio::test]
async fn a_fetch_waits_out_a_full_disk() {
    let place = Place::new();
    let broker = place.owner();
    publish(
        &broker,
        "in",
        (0..400).map(|i| text(&i.to_string())).collect(),
    )
    .await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    leave_room(&broker, 0).await;
    // Handing out 400 messages takes rows that do not fit.
    let refused =
        tokio::time::timeout(Duration::from_millis(300), reading.source.fetch(room(400))).await;
    assert!(refused.is_err(), "there was room after all");
    assert!(matches!(broker.health(), Health::Waiting(_)));
    leave_room(&broker, 100).await;
    let found = reading.fetch_all(400).await;
    assert!(found.iter().all(|parcel| parcel.message.deliveries == 1));
}

/// Fails in the middle of its work.
struct Bad;

impl Operation for Bad {
    type Output = ();

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        ledger.topic_named("half-done")?;
        ledger
            .conn
            .execute("INSERT INTO nowhere VALUES (1)", [])
            .map(drop)
    }
}

#[tokio::test]
async fn one_bad_request_does_not_fail_the_others() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    for round in 0..20 {
        // All are queued before the writer looks, at least in some rounds: then they share a transaction.
        let name = round.to_string();
        let one = [text(&name)];
        let (a, bad, b) = tokio::join!(
            try_publish(&broker, "in", one.to_vec()),
            broker.handle.call(Bad),
            try_publish(&broker, "in", one.to_vec()),
        );
        assert_eq!((a, b), (vec![Ok(())], vec![Ok(())]));
        assert!(bad.is_err());
    }
    let found = reading.fetch_all(40).await;
    let seqs: Vec<_> = found
        .iter()
        .map(|p| p.message.origin.position.to_string())
        .collect();
    assert_eq!(seqs, (1..=40).map(|i| i.to_string()).collect::<Vec<_>>());
    let topics = broker.topics().await.unwrap();
    assert!(
        topics.iter().all(|topic| topic.name != "half-done"),
        "{topics:?}"
    );
}
