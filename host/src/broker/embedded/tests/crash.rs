//! Ends that nobody planned: a dropped broker, and `kill -9` at any moment, counting every message.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use super::owners::{child, given};
use super::support::*;
use crate::broker::embedded::Embedded;
use crate::commit::Settlement;
use crate::ports::Committed;

#[tokio::test]
async fn what_was_in_hand_is_due_at_once_and_was_counted() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a", "b", "c"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch_all(3).await;
    reading.accept(&found[..1]).await;
    reading
        .release(&found[1], Some(Duration::from_secs(3600)), 2)
        .await;
    let again = Settlement::Release {
        after: None,
        attempts: 1,
        first_failed_ms: None,
    };
    reading.settle(&found[2], again).await.unwrap();
    assert_eq!(reading.fetch(1).await[0].message.deliveries, 1);
    drop((reading, broker));

    let broker = place.owner_again().await;
    let in_hand = broker.reader.query(|conn| {
        let sql = "SELECT count(*) FROM pending WHERE state = 0";
        conn.query_row(sql, [], |row| row.get::<_, i64>(0))
    });
    assert_eq!(in_hand.await, Ok(0), "before anybody subscribes");
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch(9).await;
    assert_eq!(payloads(&found), ["c"]);
    let message = &found[0].message;
    assert_eq!(
        (message.deliveries, message.attempts),
        (2, 1),
        "the crash counts, the release does not"
    );
    // The delayed one is still delayed.
    reading.nothing().await;
    assert_eq!(broker.depth("in", "g").await.unwrap().pending, 2);
}

#[test]
#[ignore = "run as a process of its own, and killed, by the next test"]
fn child_publishes_for_ever() {
    let Some(options) = given() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let broker = Embedded::open_owner("events", &options).unwrap();
        for i in 0_u64.. {
            publish_texts(&broker, "in", &[&i.to_string()]).await;
            println!("\nacked {i}");
        }
    });
}

#[tokio::test]
async fn every_acknowledged_publication_survives_kill_9() {
    for acknowledged in [1, 40, 333] {
        let place = Place::new();
        let mut process = child("crash::child_publishes_for_ever", &place)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut acked = Vec::new();
        let number = |line: String| line.strip_prefix("acked ").and_then(|n| n.parse().ok());
        while acked.len() < acknowledged {
            let line = lines.next().expect("the child is alive").unwrap();
            acked.extend(number(line) as Option<u64>);
        }
        process.kill().unwrap();
        process.wait().unwrap();
        acked.extend(lines.map_while(Result::ok).filter_map(number));

        let broker = place.owner();
        let stored = broker.browse("in", 1, 1_000_000).await.unwrap();
        let stored: Vec<u64> = stored
            .iter()
            .map(|m| std::str::from_utf8(&m.payload).unwrap().parse().unwrap())
            .collect();
        // All that were acknowledged, and at most the one that was on its way.
        assert_eq!(stored, (0..stored.len() as u64).collect::<Vec<_>>());
        let surplus = stored.len() - acked.len();
        assert!(
            surplus <= 1,
            "{} stored, {} acknowledged",
            stored.len(),
            acked.len()
        );
    }
}

#[test]
#[ignore = "run as a process of its own, and killed, by the next test"]
fn child_consumes() {
    let Some(options) = given() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let broker = Embedded::open_owner("events", &options).unwrap();
        let mut reading = Reading::open(&broker, spec("in", "g")).await;
        loop {
            for parcel in reading.fetch(16).await {
                let name = payload(&parcel.message);
                let number: u64 = name.parse().unwrap();
                if number % 7 == 1 && parcel.message.attempts == 0 {
                    reading.release(&parcel, None, 1).await;
                    continue;
                }
                let output = publication("out", text(&name));
                let done = reading
                    .commit(parcel, vec![output], Settlement::Accept)
                    .await;
                assert_eq!(done, Committed::Done);
            }
            println!("\nfetched");
        }
    });
}

#[tokio::test]
async fn kill_9_of_the_consumer_loses_nothing_and_repeats_nothing() {
    const MESSAGES: usize = 3000;
    let place = Place::new();
    let client = place.client();
    let names: Vec<String> = (0..MESSAGES).map(|i| i.to_string()).collect();
    publish(&client, "in", names.iter().map(|n| text(n)).collect()).await;
    // Killed after so many batches, and some milliseconds into the next.
    for round in 0..12_u64 {
        let mut process = child("crash::child_consumes", &place).spawn().unwrap();
        // Kept open until after the kill: a closed pipe would end the child before.
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        for batch in 0..2 + round % 5 {
            let fetched = lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| line == "fetched");
            assert!(
                fetched,
                "round {round}: the child ended by itself after {batch} batches"
            );
        }
        tokio::time::sleep(Duration::from_millis(round * 3)).await;
        process.kill().unwrap();
        assert_eq!(process.wait().unwrap().signal(), Some(9), "round {round}");
    }
    let done = client.browse("out", 1, MESSAGES * 2).await.unwrap().len();
    assert!(
        done > 0 && done < MESSAGES,
        "{done} were handled before the last kill"
    );

    let broker = place.owner_again().await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    while broker.last_seq("out").await.unwrap() < MESSAGES as u64 {
        for parcel in reading.fetch(200).await {
            let output = publication("out", text(&payload(&parcel.message)));
            let done = reading
                .commit(parcel, vec![output], Settlement::Accept)
                .await;
            assert_eq!(done, Committed::Done);
        }
    }
    let mut count = BTreeMap::new();
    for message in broker.browse("out", 1, MESSAGES * 2).await.unwrap() {
        *count.entry(message.id.to_string()).or_insert(0) += 1;
    }
    assert_eq!(count.len(), MESSAGES);
    let repeated: Vec<_> = count.iter().filter(|(_, n)| **n != 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
    assert_eq!(broker.depth("in", "g").await.unwrap().pending, 0);
}
