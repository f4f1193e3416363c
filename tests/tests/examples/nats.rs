//! `examples/nats`: messages of a client that knows nothing of Wharf, and what such a client reads.

use wharf_tests::host::{PATIENCE, eventually};
use wharf_tests::nats_server::NatsServer;
use wharf_tests::plugins::until;

use crate::running::{Example, payload, sorted};

async fn payloads(server: &NatsServer, stream: &str) -> Vec<String> {
    let messages = server.messages(stream).await;
    let texts = messages
        .iter()
        .map(|message| String::from_utf8_lossy(&message.payload).into_owned());
    texts.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn greets_who_stands_in_messages_of_any_client() {
    let server = NatsServer::start().await;
    let example = Example::new("nats", "example-hello").with("NATS_URL", server.url());
    let host = example.start();
    eventually("the declared stream", PATIENCE, async || {
        server.held("VISITORS").await
    })
    .await;
    for line in example.file("messages.jsonl").lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        server.publish("visitors.web", &payload(&message)).await;
    }
    until("three greetings", || {
        (example.lying("bus", "GREETINGS").len() == 3).then_some(())
    });
    eventually(
        "the one that is no JSON among the dead",
        PATIENCE,
        async || (server.held("DLQ").await == Some(1)).then_some(()),
    )
    .await;
    host.stop();
    let greetings = sorted(payloads(&server, "GREETINGS").await);
    assert_eq!(greetings, example.expected());
    assert_eq!(payloads(&server, "DLQ").await, ["not JSON"]);
}
