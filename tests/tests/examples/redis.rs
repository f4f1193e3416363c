//! `examples/redis`: entries of a client that knows nothing of Wharf, and what such a client reads.

use std::collections::HashMap;

use wharf_tests::plugins::until;
use wharf_tests::redis_server::RedisServer;

use crate::running::{Example, payload, sorted};

/// The field `payload` of every entry of a stream, read as any client would.
async fn payloads(connection: &mut redis::aio::MultiplexedConnection, stream: &str) -> Vec<String> {
    let entries: Vec<(String, HashMap<String, String>)> = redis::cmd("XRANGE")
        .arg(stream)
        .arg("-")
        .arg("+")
        .query_async(connection)
        .await
        .unwrap();
    let payloads = entries.into_iter().map(|(_, mut fields)| {
        let payload = fields.remove("payload");
        payload.expect("a field `payload`")
    });
    payloads.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greets_who_stands_in_entries_of_any_client() {
    let server = RedisServer::start().await;
    let example = Example::new("redis", "example-hello").with("REDIS_URL", server.url());
    let host = example.start();
    let mut connection = redis::Client::open(server.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    for line in example.file("messages.jsonl").lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let _id: String = redis::cmd("XADD")
            .arg(&["visitors", "*", "body", &payload(&message)])
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    until("three greetings", || {
        (example.lying("events", "greetings").len() == 3).then_some(())
    });
    until("the one that is no JSON among the dead", || {
        (example.lying("events", "dlq.visitors.hello").len() == 1).then_some(())
    });
    host.stop();
    let greetings = sorted(payloads(&mut connection, "greetings").await);
    assert_eq!(greetings, example.expected());
    assert_eq!(
        payloads(&mut connection, "dlq.visitors.hello").await,
        ["not JSON"]
    );
}
