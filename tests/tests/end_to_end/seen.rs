//! What a platform engineer sees: metrics under the names of the conventions, probes, and logs that name the message.

use bytestring::ByteString;
use serde_json::json;
use wharf_tests::count::Work;
use wharf_tests::host::{Host, Place, eventually, eventually_or};
use wharf_tests::redis_server::RedisServer;

use super::client::{Client, LETTERS, PATIENCE, message, puppet};

const P: &str = "plugin=\"p\"";
const IN: &str = "subscription=\"in\"";

/// What `/metrics` must show once [`Work::mixed`] with 300 messages is done: 6 rejected, 3 trap three times each, 8
/// are handled at the second attempt.
fn wanted() -> Vec<(&'static str, Vec<&'static str>, f64)> {
    let (rejected, trapped, retried) = (6.0, 3.0, 8.0);
    let handled = 300.0 - rejected - trapped;
    let all = vec![P, IN];
    let run = |kind| vec![P, IN, kind];
    // What waits for a retry is given back to the broker, and read again.
    let reads = 300.0 + 2.0 * trapped + retried;
    vec![
        (
            "messaging_client_consumed_messages_total",
            all.clone(),
            reads,
        ),
        ("messaging_client_sent_messages_total", all.clone(), 300.0),
        (
            "messaging_client_sent_messages_total",
            run("messaging_destination_name=\"out\""),
            handled,
        ),
        (
            "messaging_client_sent_messages_total",
            run("messaging_destination_name=\"dlq.in.p\""),
            rejected + trapped,
        ),
        ("wharf_released_total", all.clone(), 2.0 * trapped + retried),
        ("wharf_attempts_total", run("error_type=\"\""), handled),
        (
            "wharf_attempts_total",
            run("error_type=\"trap\""),
            3.0 * trapped,
        ),
        ("wharf_attempts_total", run("error_type=\"retry\""), retried),
        (
            "wharf_attempts_total",
            run("error_type=\"rejected\""),
            rejected,
        ),
        (
            "messaging_process_duration_seconds_count",
            vec![
                P,
                IN,
                "messaging_system=\"wharf_embedded\"",
                "messaging_destination_name=\"in\"",
                "messaging_consumer_group_name=\"p\"",
            ],
            reads,
        ),
        ("wharf_dead_letters_total", run("cause=\"trap\""), trapped),
        (
            "wharf_dead_letters_total",
            run("cause=\"rejected\""),
            rejected,
        ),
        ("wharf_dead_letters_total", all.clone(), trapped + rejected),
        ("wharf_in_flight", all.clone(), 0.0),
        ("wharf_held", all.clone(), 0.0),
        ("wharf_paused", all.clone(), 0.0),
        ("wharf_lag_messages", all.clone(), 0.0),
        ("wharf_pending_messages", all.clone(), 0.0),
        ("wharf_breaker_state", all.clone(), 0.0),
        ("wharf_fenced_total", all, 0.0),
        ("wharf_swaps_total", vec![P, "result=\"swapped\""], 0.0),
        ("wharf_swaps_total", vec![P, "result=\"refused\""], 0.0),
        ("wharf_broker_ready", vec!["broker=\"local\""], 1.0),
        ("wharf_lost_messages_total", vec!["broker=\"local\""], 0.0),
    ]
}

async fn differs(host: &Host) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, labels, value) in wanted() {
        let found = host.metric(name, &labels).await;
        if found != Some(value) {
            wrong.push(format!("{name} {labels:?} is {found:?}, not {value}"));
        }
    }
    wrong
}

#[tokio::test]
async fn metrics_have_the_promised_names_and_true_values() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&puppet(
        "    retry: { max_retries: 2, initial_interval: 20ms }\n",
    ));
    let client = Client::embedded(&place.path("wharf.db"));
    let work = Work::mixed(300);
    client.publish("in", work.messages.clone()).await;
    let host = place.run().await;
    client.until_done("in", "p").await;
    work.check(&client.items("out").await, &client.items(LETTERS).await);
    // Lag is looked at every other second.
    let mut last = Vec::new();
    let limit = std::time::Duration::from_secs(10);
    let end = tokio::time::Instant::now() + limit;
    eventually("the last look", PATIENCE, async || {
        last = differs(&host).await;
        (last.is_empty() || tokio::time::Instant::now() > end).then_some(())
    })
    .await;
    assert!(last.is_empty(), "{last:#?}");
    // The last ones trapped, and their sandboxes went with them: one more is handled, and its sandbox is kept.
    client.publish("in", vec![message("late", "late")]).await;
    client.until_done("in", "p").await;
    for (name, least) in [
        ("wharf_guest_cpu_seconds_total", 0.000_01),
        ("wharf_guest_memory_bytes", 64.0 * 1024.0),
        ("wharf_instances", 1.0),
        ("messaging_process_duration_seconds_sum", 0.000_01),
    ] {
        let value = host
            .metric(name, &[P])
            .await
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert!(value >= least, "{name} is {value}");
    }
    let (_, text) = host.get("/metrics").await;
    for label in [
        "messaging_system=\"wharf_embedded\"",
        "messaging_destination_name=\"in\"",
        "messaging_consumer_group_name=\"p\"",
    ] {
        assert!(text.contains(label), "{label} is missing");
    }
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends so");
    let sound = text.lines().all(|line| {
        line.starts_with('#')
            || line
                .rsplit(' ')
                .next()
                .is_some_and(|v| v.parse::<f64>().is_ok())
    });
    assert!(sound, "every line ends in a number");
}

/// Not where they came from: outputs go to another broker here, the dead letter and the reply do not.
#[tokio::test]
async fn what_is_sent_is_counted_where_it_went() {
    let server = RedisServer::start().await;
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&format!(
        "brokers:\n  local: {{ type: embedded, path: wharf.db }}\n  events: {{ type: redis, url: \"{}\" }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: local, topic: in }} }}\n    \
         publish: {{ out: {{ broker: events, stream: bills }} }}\n    grants: {{ reply: true }}\n",
        server.url()
    ));
    let client = Client::embedded(&place.path("wharf.db"));
    let mut question = message("q", r#"{"do": "reply", "text": "pong"}"#);
    question.reply_to = Some(ByteString::from_static("inbox.7"));
    let rejected = message("r", r#"{"do": "reject"}"#);
    let all = vec![message("a", "a"), message("b", "b"), question, rejected];
    client.publish("in", all).await;
    let host = place.run().await;
    client.until_done("in", "p").await;
    for (system, name, count) in [
        ("redis", "bills", Some(2.0)),
        ("wharf_embedded", LETTERS, Some(1.0)),
        ("wharf_embedded", "", Some(1.0)),
        ("wharf_embedded", "inbox.7", None),
        ("wharf_embedded", "in", None),
    ] {
        let system = format!("messaging_system=\"{system}\"");
        let name = format!("messaging_destination_name=\"{name}\"");
        let labels: [&str; 4] = [P, IN, &system, &name];
        eventually_or(&name, PATIENCE, async || {
            let found = host
                .metric("messaging_client_sent_messages_total", &labels)
                .await;
            if found == count { Ok(()) } else { Err(found) }
        })
        .await;
    }
}

#[tokio::test]
async fn probes_answer() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&puppet(""));
    let host = place.run().await;
    assert_eq!(host.get("/livez").await, (200, "ok\n".to_owned()));
    let (status, body) = host.get("/readyz").await;
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body, json!({"ready": true, "waiting": []}));
    assert_eq!(host.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn logs_name_plugin_and_message() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&puppet(
        "    retry: { max_retries: 1, initial_interval: 20ms }\n",
    ));
    let client = Client::embedded(&place.path("wharf.db"));
    let panics = json!({"do": "panic", "text": "no such customer"}).to_string();
    let writes = json!({"do": "log", "text": "looked it up"}).to_string();
    client
        .publish("in", vec![message("bad", panics), message("good", writes)])
        .await;
    let host = place.run().await;
    client.until_done("in", "p").await;
    let lines = eventually("all is logged", PATIENCE, async || {
        let lines = host.lines();
        lines
            .iter()
            .any(|l| l["message"] == "dead letter")
            .then_some(lines)
    })
    .await;
    let find = |wanted: &str| {
        let found = lines
            .iter()
            .find(|l| l["message"].as_str().is_some_and(|m| m.contains(wanted)));
        found.unwrap_or_else(|| panic!("{wanted:?} is not in {lines:#?}"))
    };
    let letter = find("dead letter");
    assert_eq!(letter["level"], "ERROR");
    assert_eq!(
        (&letter["plugin"], &letter["message_id"]),
        (&json!("p"), &json!("bad"))
    );
    assert_eq!(
        (&letter["cause"], &letter["attempts"]),
        (&json!("trap"), &json!(2))
    );
    assert_eq!(
        (&letter["subscription"], &letter["dead_letters"]),
        (&json!("in"), &json!(LETTERS))
    );
    let again = find("will be tried again");
    assert_eq!(
        (&again["plugin"], &again["message_id"]),
        (&json!("p"), &json!("bad"))
    );
    for (text, id) in [("no such customer", "bad"), ("looked it up", "good")] {
        let line = find(text);
        assert_eq!(
            (&line["plugin"], &line["message_id"]),
            (&json!("p"), &json!(id))
        );
    }
    let said = host.said();
    assert!(
        said.lines()
            .all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()),
        "all lines are JSON: {said}"
    );
}
