//! How fast it is: `cargo test --release -p wharf --lib embedded::tests::throughput -- --ignored --nocapture`.

use super::support::*;
use crate::commit::Settlement;
use crate::message::Outgoing;
use crate::ports::Broker as _;

/// Fetch, one output and settlement each, in windows as a committer would: what the file can carry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn fetch_publish_settle() {
    const MESSAGES: usize = 100_000;
    for window in [64, 256, 1024] {
        let place = Place::new();
        let broker = place.owner();
        let body = vec![b'x'; 256];
        let started = tokio::time::Instant::now();
        for chunk in 0..MESSAGES / 1000 {
            let messages = (0..1000)
                .map(|i| Outgoing {
                    id: Some(format!("m-{}", chunk * 1000 + i).into()),
                    payload: body.clone().into(),
                    ..Outgoing::default()
                })
                .collect();
            publish(&broker, "in", messages).await;
        }
        let filled = started.elapsed();
        let mut reading = Reading::open(&broker, spec("in", "g")).await;
        let started = tokio::time::Instant::now();
        let (mut done, mut next) = (0, reading.fetch(window).await);
        while done < MESSAGES {
            let commits: Vec<_> = next
                .drain(..)
                .map(|parcel| {
                    let out = Outgoing {
                        id: Some(parcel.message.id.clone()),
                        payload: parcel.message.payload.clone(),
                        ..Outgoing::default()
                    };
                    commit(parcel, vec![publication("out", out)], Settlement::Accept)
                })
                .collect();
            let batch: Vec<_> = commits.iter().collect();
            done += batch.len();
            // The next window is fetched while this one is committed.
            if done < MESSAGES {
                let (settler, source) = (&mut reading.settler, &mut reading.source);
                let (results, found) =
                    tokio::join!(settler.commit(&batch), source.fetch(room(window)));
                assert!(results.iter().all(|r| *r == crate::ports::Committed::Done));
                next = reading.unwrap(found.unwrap());
            } else {
                reading.settler.commit(&batch).await;
            }
        }
        let took = started.elapsed();
        println!(
            "window {window}: publish {:.0}/s, fetch+output+settle {:.0}/s",
            MESSAGES as f64 / filled.as_secs_f64(),
            MESSAGES as f64 / took.as_secs_f64(),
        );
        broker.close().await;
    }
}
