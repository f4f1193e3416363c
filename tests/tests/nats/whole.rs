//! The real program on a real server: `type: nats` in a configuration, the commands, requests and their answers.

use async_nats::{Client, Message};
use futures_util::StreamExt as _;
use serde_json::Value;
use wharf_tests::host::{Host, PATIENCE, Place, eventually};
use wharf_tests::nats_server::NatsServer;

/// What plugin `p` reads and publishes, and the streams that are made for it.
fn config(url: &str, subscribe: &str, publish: &str) -> String {
    format!(
        "brokers:\n  bus:\n    type: nats\n    url: \"{url}\"\n    ack_wait: 1s\n    declare:\n      dead_letters: DLQ\n      \
         streams: {{ IN: {{ subjects: [\"in.>\"] }}, OUT: {{ subjects: [out] }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    grants: {{ reply: true }}\n    \
         subscribe: {{ in: {{ broker: bus, {subscribe} }} }}\n    publish: {{ out: {{ broker: bus, {publish} }} }}\n    \
         retry: {{ max_retries: 1, initial_interval: 10ms }}\n"
    )
}

async fn running(server: &NatsServer, subscribe: &str, publish: &str) -> (Place, Host) {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&config(&server.url(), subscribe, publish));
    let host = place.run().await;
    host.ready(true).await;
    (place, host)
}

async fn stopped(mut host: Host) {
    host.signal("TERM");
    let status = host.exit(PATIENCE).await;
    assert!(status.success(), "every settlement was confirmed: {status}");
}

async fn held(server: &NatsServer, stream: &str, count: u64) {
    eventually(stream, PATIENCE, async || {
        (server.held(stream).await == Some(count)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_seen_and_sent_back_and_deleted() {
    let server = NatsServer::start().await;
    let (place, host) = running(&server, "stream: IN", "subject: out").await;
    let publish = |words: &[&str]| {
        let said = place.wharf(&[&["publish", "bus", "in.eu"], words].concat());
        assert!(
            said.starts_with("1 message published to bus in.eu"),
            "{said}"
        );
    };
    publish(&["--payload", "hello"]);
    for id in ["m-1", "m-2"] {
        publish(&["--id", id, "--payload", r#"{"do":"reject"}"#]);
    }
    held(&server, "OUT", 1).await;
    held(&server, "DLQ", 2).await;

    let listed = place.wharf(&["dlq", "list", "--json"]);
    assert!(listed.contains(r#""rejected":2"#), "{listed}");
    let shown = place.wharf(&["dlq", "show", "p/in", "--limit", "1", "--json"]);
    let shown: Value = serde_json::from_str(shown.lines().next().expect("a line")).expect("JSON");
    assert_eq!(shown["message"]["id"], "m-1");
    assert_eq!(server.held("DLQ").await, Some(2), "looking takes nothing");

    // Twice: the second time it must not be taken for a repeat of the first.
    for redrives in ["1", "2"] {
        let redriven = place.wharf(&["dlq", "redrive", "p/in", "--id", "m-2"]);
        assert!(redriven.starts_with("1 dead letter redriven"), "{redriven}");
        eventually("it is dead again", PATIENCE, async || {
            let shown = place.wharf(&["dlq", "show", "p/in", "--id", "m-2", "--json"]);
            let shown: Value = serde_json::from_str(shown.lines().next()?).ok()?;
            (shown["redrives"] == redrives.parse::<u64>().ok()?).then_some(())
        })
        .await;
    }
    held(&server, "DLQ", 2).await;

    let purged = place.wharf(&["dlq", "purge", "p/in", "--id", "m-1", "--yes"]);
    assert!(purged.starts_with("1 dead letter"), "{purged}");
    held(&server, "DLQ", 1).await;
    stopped(host).await;
    held(&server, "retry~in~p", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_looks_at_streams_and_at_subjects_of_them_and_consumes_nothing() {
    let server = NatsServer::start().await;
    let (place, host) = running(&server, "stream: IN", "subject: out").await;
    for (subject, text) in [("in.a", "one"), ("in.b", "two"), ("in.a", "three")] {
        let said = place.wharf(&["publish", "bus", subject, "--payload", text]);
        assert!(said.starts_with("1 message"), "{said}");
    }
    held(&server, "OUT", 3).await;
    let tail = |words: &[&str]| {
        let said = place.wharf(&[&["tail", "bus"], words, &["--json"]].concat());
        let lines = said.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["payload_text"].as_str().expect("text").to_owned()
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(tail(&["IN"]), ["one", "two", "three"]);
    assert_eq!(tail(&["IN", "-n", "1"]), ["three"]);
    assert_eq!(tail(&["in.a", "--from-start"]), ["one", "three"]);
    assert_eq!(tail(&["in.*", "-n", "2"]), ["two", "three"]);
    let info = server
        .jetstream()
        .await
        .get_stream("IN")
        .await
        .expect("there");
    assert_eq!(info.cached_info().state.consumer_count, 1, "the host's own");

    let (code, refusal) = place.try_wharf(&["tail", "bus", "elsewhere"]);
    assert_eq!(code, Some(64), "{refusal}");
    assert!(refusal.contains("kept nowhere"), "{refusal}");
    stopped(host).await;
}

async fn ask(client: &Client, order: &str) -> Message {
    let answer = client.request("prices.eu", order.to_owned().into()).await;
    answer.unwrap_or_else(|error| panic!("{order}: {error}"))
}

fn said<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message
        .headers
        .as_ref()?
        .get(name)
        .map(|value| value.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_and_told_of_a_failure() {
    let server = NatsServer::start().await;
    let (_place, host) = running(&server, "subject: prices.*", "subject: out").await;
    let client = server.client().await;

    let answer = ask(&client, r#"{"do":"reply","text":"42"}"#).await;
    assert_eq!(&*answer.payload, b"42");
    assert_eq!(said(&answer, "Nats-Service-Error"), None);

    let rejected = r#"{"do":"reject","reason":"no such\nprice","code":"E7"}"#;
    for (order, reason, code) in [
        (rejected, "no such price", "E7"),
        (r#"{"do":"retry","reason":"not yet"}"#, "not yet", "503"),
        (r#"{"do":"panic","text":"lost"}"#, "", "500"),
    ] {
        let answer = ask(&client, order).await;
        let error = said(&answer, "Nats-Service-Error").unwrap_or("none");
        assert!(
            error.contains(reason) && !error.is_empty(),
            "{order}: {error}"
        );
        assert_eq!(
            said(&answer, "Nats-Service-Error-Code"),
            Some(code),
            "{order}"
        );
    }
    // They are dead letters as well.
    held(&server, "DLQ", 3).await;
    stopped(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_wait_is_told_nothing() {
    let server = NatsServer::start().await;
    let (_place, host) = running(&server, "subject: prices.*", "subject: out").await;
    let client = server.client().await;
    let mut results = client.subscribe("results").await.expect("subscribed");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("reply-to", "results");
    let order = |text: &'static str| {
        let (headers, to) = (headers.clone(), "prices.eu");
        client.publish_with_headers(to, headers, text.into())
    };
    order(r#"{"do":"reject"}"#).await.expect("published");
    held(&server, "DLQ", 1).await;
    // A result goes there, and is the first that comes.
    order(r#"{"do":"reply","text":"42"}"#)
        .await
        .expect("published");
    let first = tokio::time::timeout(PATIENCE, results.next()).await;
    let first = first.expect("in time").expect("a message");
    assert_eq!(&*first.payload, b"42");
    stopped(host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_outside_of_streams_is_warned_about_and_cannot_be_sent_back() {
    let server = NatsServer::start().await;
    let (place, host) = running(&server, "subject: prices.*", "subject: live, core: true").await;
    let mut live = server
        .client()
        .await
        .subscribe("live")
        .await
        .expect("there");
    assert!(host.said().contains("at most once"), "{}", host.said());
    let published = place.wharf(&["publish", "bus", "in.other", "--payload", "x"]);
    assert!(published.starts_with("1 message"), "{published}");
    let client = server.client().await;
    eventually("an output", PATIENCE, async || {
        client
            .publish("prices.eu", "hello".into())
            .await
            .expect("published");
        let next = tokio::time::timeout(std::time::Duration::from_millis(200), live.next());
        next.await.ok().flatten()
    })
    .await;
    let (code, refusal) = place.try_wharf(&["dlq", "redrive", "p/in", "--all"]);
    assert_eq!(code, Some(64), "{refusal}");
    assert!(refusal.contains("nobody would keep it"), "{refusal}");
    stopped(host).await;
}
