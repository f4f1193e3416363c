//! A broker that is not there, goes away, or comes back empty: the host waits, says so, and goes on by itself.

use serde_json::Value;
use wharf_tests::host::{Host, Place, eventually};
use wharf_tests::redis_server::RedisServer;

use super::client::{Client, PATIENCE, message};
use super::count::{Fate, Work};

fn config(url: &str) -> String {
    format!(
        "brokers: {{ events: {{ type: redis, url: \"{url}\", lease: 500ms }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: events, stream: in }} }}\n    \
         publish: {{ out: {{ broker: events, stream: out }} }}\n"
    )
}

async fn ready(host: &Host, wanted: bool) -> Value {
    let what = if wanted { "ready" } else { "not ready" };
    eventually(what, PATIENCE, async || {
        let (status, body) = host.get("/readyz").await;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(status, if body["ready"] == true { 200 } else { 503 });
        (body["ready"] == wanted).then_some(body)
    })
    .await
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
async fn redis_absent_at_start_is_waited_for_and_said() {
    let mut server = RedisServer::absent(&[]);
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&config(&server.url()));
    let mut host = place.run().await;
    let said = ready(&host, false).await;
    assert_eq!(said["waiting"][0]["broker"], "events", "{said}");
    let reason = said["waiting"][0]["reason"].as_str().expect("a reason");
    assert!(!reason.is_empty(), "{said}");
    assert_eq!(
        host.get("/livez").await.0,
        200,
        "waiting is no reason to be restarted"
    );
    server.run().await;
    ready(&host, true).await;
    handled(&server, "first", 200).await;
    host.signal("TERM");
    assert!(host.exit(PATIENCE).await.success());
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
    let said = ready(&host, false).await;
    assert_eq!(said["waiting"][0]["broker"], "events", "{said}");
    server.run().await;
    ready(&host, true).await;
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
    ready(&host, false).await;
    host.signal("TERM");
    let status = host.exit(PATIENCE).await;
    assert!(status.success(), "nothing was in hand: {status}");
}
