//! A broker that comes back empty, and stopping while it is away. What else can befall a server is played on all of
//! them by the suite `conformance`.

use wharf_tests::count::{Fate, Work};
use wharf_tests::host::Place;
use wharf_tests::redis_server::RedisServer;

use super::client::{Client, PATIENCE, message};

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
