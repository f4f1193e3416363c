//! One message that never ends must not keep the host from the others, nor from stopping.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wharf_tests::count::{Fate, Work};
use wharf_tests::host::{Place, eventually};

use super::client::{Client, LETTERS, PATIENCE, message, puppet};

const SPIN: &str = r#"{"do": "spin"}"#;

/// 1,500 messages; number 777 spins.
fn work() -> Work {
    let mut work = Work::default();
    for i in 0..1_500 {
        if i == 777 {
            work.add(message("m-777", SPIN), Fate::Letter("deadline"));
        } else {
            work.add(
                message(format!("m-{i}"), format!("message {i}")),
                Fate::Output,
            );
        }
    }
    work
}

/// The closest rival stands still for ever.
#[tokio::test]
async fn one_endless_loop_does_not_freeze_the_host() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let more = "    retry: { max_retries: 0 }\n    limits: { deadline: 10s }\n";
    place.configure(&puppet(more));
    let client = Client::embedded(&place.path("wharf.db"));
    let work = work();
    client.publish("in", work.messages.clone()).await;
    let host = place.run().await;
    client.until_count("out", 1_499).await;
    // All others are done while it still spins, and whoever asks is answered.
    assert_eq!(client.count(LETTERS).await, 0);
    assert_eq!(host.get("/livez").await.0, 200);
    assert_eq!(host.get("/readyz").await.0, 200);
    // So is what comes from now on.
    let asked = Instant::now();
    client.publish("in", vec![message("late", "late")]).await;
    client.until_count("out", 1_500).await;
    assert_eq!(
        client.count(LETTERS).await,
        0,
        "it took {:?}",
        asked.elapsed()
    );

    client.until_done("in", "p").await;
    let mut outputs = client.items("out").await;
    assert_eq!(outputs.pop().expect("the late one").id, "late/p/0");
    work.check(&outputs, &client.items(LETTERS).await);
}

#[tokio::test]
async fn sigterm_works_within_its_limit_while_a_handler_spins() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let forever = puppet("    retry: { max_retries: 0 }\n    limits: { deadline: 10m }\n");
    place.configure_drain("2s", &forever);
    let client = Client::embedded(&place.path("wharf.db"));
    client
        .publish("in", vec![message("spins", SPIN), message("m", "m")])
        .await;
    let mut host = place.run().await;
    client.until_count("out", 1).await;
    eventually("it spins", PATIENCE, async || {
        (host.metric("wharf_in_flight", &[]).await == Some(1.0)).then_some(())
    })
    .await;
    let asked = Instant::now();
    host.signal("TERM");
    let status = host.exit(PATIENCE).await;
    // The limit, and what a process takes to go away.
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    assert!(status.success(), "the message was given back: {status}");
    assert_eq!(client.left("in", "p").await, 1, "and is still there");
    assert_eq!(client.count(LETTERS).await, 0);

    // With a deadline it ends, and its interrupted run was not charged.
    place.configure(&puppet(
        "    retry: { max_retries: 0 }\n    limits: { deadline: 200ms }\n",
    ));
    let _host = place.run().await;
    client.until_done("in", "p").await;
    let letters = client.items(LETTERS).await;
    assert_eq!(letters[0].header("wharf-cause"), Some("deadline"));
    assert_eq!(letters[0].header("wharf-attempts"), Some("1"));
}

/// Another plugin on the same host, all of whose sandboxes spin, traps or wait.
#[tokio::test]
async fn a_plugin_that_only_misbehaves_does_not_delay_its_neighbour() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let neighbour = "  q:\n    component: puppet.wasm\n    subscribe: { in: { broker: local, topic: bad } }\n    \
                     limits: { deadline: 15s }\n    retry: { max_retries: 0 }\n";
    place.configure(&puppet(neighbour));
    let client = Client::embedded(&place.path("wharf.db"));
    let bad = ["spin", "spin", "trap", "spin", "overflow", "spin"];
    let bad = (0..60).map(|i| message(format!("b-{i}"), json!({"do": bad[i % 6]}).to_string()));
    client.publish("bad", bad.collect()).await;
    let mut host = place.run().await;
    eventually("they spin", PATIENCE, async || {
        let q = ["plugin=\"q\""];
        (host.metric("wharf_instances", &q).await? >= 1.0).then_some(())
    })
    .await;
    let mut work = Work::default();
    for i in 0..1_000 {
        work.add(
            message(format!("m-{i}"), format!("message {i}")),
            Fate::Output,
        );
    }
    client.publish("in", work.messages.clone()).await;
    let asked = Instant::now();
    client.until_done("in", "p").await;
    // Far longer than it takes, far shorter than one of the others' deadlines.
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    work.check(&client.items("out").await, &[]);
    host.signal("TERM");
    assert!(host.exit(PATIENCE).await.success());
}
