//! Administration: what runs can be seen, and a subscription paused, by whoever may.

use serde_json::{Value, json};
use wharf_tests::count::Work;
use wharf_tests::host::{Host, Listener, Place, eventually_or};

use super::client::{Client, PATIENCE, message};

const CONFIG: &str = "\
admin: { listen: \"127.0.0.1:0\" }
brokers: { local: { type: embedded, path: wharf.db } }
plugins:
  p:
    component: puppet.wasm
    subscribe: { in: { broker: local, topic: in }, other: { broker: local, topic: other } }
    publish: { out: { broker: local, topic: out } }
";

const PLUGINS: &str = "/api/v1/plugins";
const SUBSCRIPTIONS: &str = "/api/v1/subscriptions";
const PAUSE: &str = "/api/v1/subscriptions/p/in/pause";
const RESUME: &str = "/api/v1/subscriptions/p/in/resume";

async fn host(config: &str) -> (Place, Host) {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(config);
    let host = place.run().await;
    (place, host)
}

/// What a call that must succeed answers.
async fn api(host: &Host, method: &str, path: &str) -> Value {
    let (status, body) = host.call(Listener::Admin, method, path, None).await;
    assert_eq!(status, 200, "{method} {path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// A subscription as it is listed.
async fn listed(host: &Host, name: &str) -> Value {
    let said = api(host, "GET", SUBSCRIPTIONS).await;
    let all = said["subscriptions"].as_array().expect("a list");
    assert_eq!(all.len(), 2, "{said}");
    let found = all.iter().find(|one| one["name"] == name);
    found.expect("it is listed").clone()
}

async fn paused(host: &Host, name: &str) -> Option<f64> {
    let label = format!("subscription=\"{name}\"");
    host.metric("wharf_paused", &[&label]).await
}

#[tokio::test]
async fn what_runs_is_listed() {
    let (_place, host) = host(CONFIG).await;
    let said = api(&host, "GET", PLUGINS).await;
    let all = said["plugins"].as_array().expect("a list");
    assert_eq!(all.len(), 1, "{said}");
    let plugin = &all[0];
    assert_eq!(plugin["name"], "p", "{said}");
    assert_eq!(plugin["state"], "STARTED", "{said}");
    for number in [&plugin["instances"], &plugin["memory"]] {
        assert!(number.as_u64().is_some(), "{said}");
    }
    let version = &plugin["version"];
    let text = |name: &str| version[name].as_str().unwrap_or_default();
    assert!(text("path").ends_with("puppet.wasm"), "{said}");
    assert!(!text("digest").is_empty(), "{said}");
    for name in ["in", "other"] {
        let wanted = json!({
            "plugin": "p", "name": name, "broker": "local", "source": name, "group": "p", "state": "STARTED",
            "paused": [], "in_hand": 0, "lag": 0, "pending": 0,
        });
        assert_eq!(listed(&host, name).await, wanted);
    }
}

#[tokio::test]
async fn a_paused_subscription_reads_nothing_until_it_is_resumed() {
    let (place, host) = host(CONFIG).await;
    let client = Client::embedded(&place.path("wharf.db"));
    let said = api(&host, "POST", PAUSE).await;
    assert_eq!(said["state"], "PAUSED", "{said}");
    assert_eq!(said["paused"], json!(["asked for"]), "{said}");

    let work = Work::plain("m", 50);
    client.publish("in", work.messages.clone()).await;
    client.publish("other", vec![message("o", "o")]).await;
    client.until_done("other", "p").await;
    // Asked for after they were published: they wait at the broker, and not in the host.
    eventually_or("all of them wait", PATIENCE, async || {
        let of = |name| host.metric(name, &["subscription=\"in\""]);
        // What a fetch that waited has read was given back: it is pending there.
        let (lag, pending) = (
            of("wharf_lag_messages").await,
            of("wharf_pending_messages").await,
        );
        let at_broker = lag.unwrap_or_default() + pending.unwrap_or_default();
        let found = (at_broker, client.count("out").await);
        if found == (50.0, 1) {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
    let said = listed(&host, "in").await;
    assert_eq!(said["state"], "PAUSED", "{said}");
    assert_eq!(said["in_hand"], 0, "{said}");
    assert_eq!(listed(&host, "other").await["state"], "STARTED");
    assert_eq!(paused(&host, "in").await, Some(1.0));
    assert_eq!(paused(&host, "other").await, Some(0.0));
    // Somebody wants it so.
    let said = host.ready(true).await;
    assert_eq!(said, json!({"ready": true, "waiting": []}));

    let said = api(&host, "POST", RESUME).await;
    assert_eq!(said["state"], "STARTED", "{said}");
    assert_eq!(said["paused"], json!([]), "{said}");
    assert_eq!(paused(&host, "in").await, Some(0.0));
    client.until_done("in", "p").await;
    let mut outputs = client.items("out").await;
    assert_eq!(outputs.remove(0).id, "o/p/0");
    work.check(&outputs, &[]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (_place, host) = host(CONFIG).await;
    for (method, path, wanted) in [
        ("POST", "/api/v1/subscriptions/p/nothing/pause", 404),
        ("POST", "/api/v1/subscriptions/nobody/in/resume", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", PAUSE, 405),
    ] {
        let (status, body) = host.call(Listener::Admin, method, path, None).await;
        assert_eq!(status, wanted, "{method} {path}: {body}");
    }
    assert_eq!(paused(&host, "in").await, Some(0.0));
    assert_eq!(paused(&host, "other").await, Some(0.0));
}

#[tokio::test]
async fn each_listener_serves_its_own() {
    let (_place, host) = host(CONFIG).await;
    for (at, method, path) in [
        (Listener::Telemetry, "GET", PLUGINS),
        (Listener::Telemetry, "GET", SUBSCRIPTIONS),
        (Listener::Telemetry, "POST", PAUSE),
        (Listener::Admin, "GET", "/metrics"),
        (Listener::Admin, "GET", "/readyz"),
    ] {
        let (status, body) = host.call(at, method, path, None).await;
        assert_eq!(status, 404, "{at:?} {path}: {body}");
    }
    assert_eq!(host.get("/metrics").await.0, 200);
    assert_eq!(paused(&host, "in").await, Some(0.0));
}

#[tokio::test]
async fn a_token_is_asked_for() {
    let listen = "listen: \"127.0.0.1:0\"";
    let config = CONFIG.replace(listen, &format!("{listen}, token: open-sesame"));
    assert_ne!(config, CONFIG);
    let (_place, host) = host(&config).await;
    let calls = [("GET", PLUGINS), ("GET", SUBSCRIPTIONS), ("POST", PAUSE)];
    let wrong = [
        "open-barley",
        "open-sesam",
        "open-sesame2",
        "OPEN-SESAME",
        "",
    ];
    for (method, path) in calls {
        for token in wrong.map(Some).into_iter().chain([None]) {
            let (status, body) = host.call(Listener::Admin, method, path, token).await;
            assert_eq!(status, 401, "{method} {path} with {token:?}: {body}");
            assert!(!body.contains("sesame"), "{body}");
        }
    }
    assert_eq!(paused(&host, "in").await, Some(0.0), "nobody may");
    for (method, path) in calls {
        let right = Some("open-sesame");
        let (status, body) = host.call(Listener::Admin, method, path, right).await;
        assert_eq!(status, 200, "{method} {path}: {body}");
    }
    assert_eq!(paused(&host, "in").await, Some(1.0));
    // Scrapers and probes have none.
    assert_eq!(host.get("/livez").await.0, 200);
}
