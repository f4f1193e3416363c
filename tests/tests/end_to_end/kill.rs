//! A host that is killed and comes back under another name. `kill -9` at moments nobody chose is played on every
//! broker by the suite `conformance`.

use redis::streams::StreamInfoConsumersReply;
use serde_json::json;
use wharf_tests::count::{Fate, Work};
use wharf_tests::host::{Place, eventually};
use wharf_tests::redis_server::RedisServer;

use super::client::{Client, LETTERS, PATIENCE, message};

const RETRY: &str = "    retry: { max_retries: 2, initial_interval: 20ms, max_interval: 50ms }\n";

fn redis(url: &str, name: &str) -> String {
    format!(
        "brokers: {{ events: {{ type: redis, url: \"{url}\", lease: 500ms, name: {name} }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: events, stream: in }} }}\n    \
         publish: {{ out: {{ broker: events, stream: out }} }}\n{RETRY}"
    )
}

/// The consumers that have something in hand, and how much.
async fn owners(server: &RedisServer) -> Vec<(String, usize)> {
    let mut connection = server.client().await;
    let mut info = redis::cmd("XINFO");
    info.arg("CONSUMERS").arg("in").arg("p");
    let reply: Result<StreamInfoConsumersReply, _> = info.query_async(&mut connection).await;
    let consumers = reply.map(|r| r.consumers).unwrap_or_default();
    let busy = consumers.into_iter().filter(|c| c.pending > 0);
    busy.map(|c| (c.name, c.pending)).collect()
}

#[tokio::test]
async fn nothing_is_stranded_when_the_host_comes_back_under_another_name() {
    let server = RedisServer::start().await;
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let client = Client::Redis(server.client().await);
    let mut work = Work::default();
    // Twenty that keep both sandboxes for a while, and many behind them: all are in hand when the host dies.
    for i in 0..20 {
        let order = json!({"do": "sleep", "ms": 500}).to_string();
        work.add(message(format!("slow-{i}"), order), Fate::Nothing);
    }
    for i in 0..180 {
        work.add(
            message(format!("m-{i}"), format!("message {i}")),
            Fate::Output,
        );
    }
    client.publish("in", work.messages.clone()).await;

    place.configure(&redis(&server.url(), "alpha"));
    let alpha = place.run().await;
    let holding = eventually("alpha has them all", PATIENCE, async || {
        let owners = owners(&server).await;
        (owners.iter().map(|(_, pending)| pending).sum::<usize>() == 200).then_some(owners)
    })
    .await;
    assert!(
        holding.iter().all(|(name, _)| name.contains("alpha")),
        "{holding:?}"
    );
    alpha.kill();
    assert!(
        !owners(&server).await.is_empty(),
        "it died with messages in hand"
    );

    place.configure(&redis(&server.url(), "beta"));
    let _beta = place.run().await;
    client.until_done("in", "p").await;
    assert_eq!(owners(&server).await, Vec::new());
    work.check(&client.items("out").await, &client.items(LETTERS).await);
}
