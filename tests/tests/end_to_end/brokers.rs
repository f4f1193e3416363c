//! A broker that comes back empty or after a long time, and starting and stopping while it is away. What else can befall
//! a server is played on all of them by the suite `conformance`.

use std::time::Duration;

use redis::Value;
use serde_json::json;
use tokio::time::Instant;
use wharf_tests::count::{Fate, Work};
use wharf_tests::host::{Place, eventually};
use wharf_tests::redis_server::RedisServer;

use super::client::{Client, LETTERS, PATIENCE, message};

/// As in [`config`].
const LEASE: Duration = Duration::from_millis(500);

fn config(url: &str) -> String {
    format!(
        "brokers: {{ events: {{ type: redis, url: \"{url}\", lease: 500ms }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: events, stream: in }} }}\n    \
         publish: {{ out: {{ broker: events, stream: out }} }}\n"
    )
}

async fn handled(server: &RedisServer, name: &str, count: usize) {
    let client = Client::Redis(server.client().await);
    let mut work = Work::default();
    for i in 0..count {
        work.add(
            message(format!("{name}-{i}"), name.to_owned()),
            Fate::Output,
        );
    }
    let before = client.count("out").await;
    client.publish("in", work.messages.clone()).await;
    client.until_count("out", before + count as u64).await;
    client.until_done("in", "p").await;
    let outputs = client.items("out").await;
    work.check(&outputs[usize::try_from(before).expect("few")..], &[]);
}

#[tokio::test]
async fn redis_that_goes_and_comes_back_empty_is_gone_on_with() {
    let mut server = RedisServer::start().await;
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&config(&server.url()));
    let host = place.run().await;
    handled(&server, "before", 200).await;
    server.kill();
    let said = host.ready(false).await;
    assert_eq!(said["waiting"][0]["broker"], "events", "{said}");
    server.run().await;
    host.ready(true).await;
    assert_eq!(
        Client::Redis(server.client().await).count("out").await,
        0,
        "it came back empty"
    );
    handled(&server, "after", 200).await;
    // Emptied under way, without going.
    server.flush_all().await;
    handled(&server, "flushed", 200).await;
}

#[tokio::test]
async fn stopping_works_while_redis_is_away() {
    let server = RedisServer::absent(&[]);
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure_drain("2s", &config(&server.url()));
    let mut host = place.run().await;
    host.ready(false).await;
    host.signal("TERM");
    let status = host.exit(PATIENCE).await;
    assert!(status.success(), "nothing was in hand: {status}");
}

#[tokio::test]
async fn a_process_can_be_ready_while_redis_is_away() {
    let server = RedisServer::absent(&[]);
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&config(&server.url()));
    let file = place.path("wharf.yaml");
    let brokers = std::fs::read_to_string(&file).expect("configured");
    let process = brokers.replace("telemetry: { ", "telemetry: { readiness: process, ");
    assert_ne!(brokers, process, "it says something else");
    std::fs::write(&file, process).expect("written");
    let host = place.run().await;
    let said = host.ready(true).await;
    assert_eq!(said["waiting"][0]["broker"], "events", "{said}");
}

/// How much of `in` the group has in hand, once there is a group.
async fn pending(server: &RedisServer) -> Option<i64> {
    match server.try_command("XPENDING in p").await.ok()? {
        Value::Array(summary) => match summary.first() {
            Some(Value::Int(count)) => Some(*count),
            other => panic!("not a count: {other:?}"),
        },
        other => panic!("not a summary: {other:?}"),
    }
}

/// Nobody took over meanwhile, so what is in hand is still this host's, and an output is one step with its settlement: it
/// is there once, also where the server went before it had answered.
#[tokio::test]
async fn redis_that_is_away_for_many_leases_costs_nothing() {
    let mut server = RedisServer::start_durable().await;
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let few = "    instances: 2\n    concurrency: 100\n";
    place.configure(&format!("{}{few}", config(&server.url())));
    let client = Client::Redis(server.client().await);
    // Some take their time, so that handlers go on while the server is away; more than can be in hand at once.
    let mut work = Work::default();
    for i in 0..300 {
        let id = format!("m-{i}");
        if i % 15 == 5 {
            let order = json!({"do": "sleep", "ms": 400}).to_string();
            work.add(message(id, order), Fate::Nothing);
        } else {
            work.add(message(id, format!("message {i}")), Fate::Output);
        }
    }
    client.publish("in", work.messages.clone()).await;
    let host = place.run().await;
    eventually(
        "some done, some in hand, some to come",
        PATIENCE,
        async || {
            let in_hand = u64::try_from(pending(&server).await?).expect("a count");
            let left = client.left("in", "p").await;
            let done = client.count("out").await;
            (done > 0 && in_hand >= 50 && left > in_hand).then_some(())
        },
    )
    .await;

    server.stop().await;
    let away = Instant::now();
    let said = host.ready(false).await;
    assert_eq!(said["waiting"][0]["broker"], "events", "{said}");
    eventually("many leases pass", PATIENCE, async || {
        assert_eq!(host.get("/readyz").await.0, 503, "it is away");
        (away.elapsed() > 6 * LEASE).then_some(())
    })
    .await;
    let in_hand = host.metric("wharf_in_flight", &[]).await;
    assert!(in_hand.is_some_and(|n| n > 0.0), "kept: {in_hand:?}");

    server.run().await;
    host.ready(true).await;
    let client = Client::Redis(server.client().await);
    client.until_done("in", "p").await;
    work.check(&client.items("out").await, &client.items(LETTERS).await);
    assert_eq!(pending(&server).await, Some(0));
    assert!(
        !host.said().contains("taken over from"),
        "it is still the host it was"
    );
}
