//! The real program on a real server: `type: rabbitmq` in a configuration, and the commands.

use serde_json::Value;
use wharf_tests::host::{Place, eventually};
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

/// Plugin `p` from the queue `in` to `out`, by an exchange; all of it declared.
fn config(server: &RabbitServer, kind: &str) -> String {
    let url = server.url();
    format!(
        "brokers:\n  q:\n    type: rabbitmq\n    url: \"{url}\"\n    queue_kind: {kind}\n    declare:\n      \
         exchanges: {{ made: {{ kind: topic }} }}\n      \
         queues: {{ in: {{ kind: {kind} }}, out: {{ kind: {kind}, bindings: [{{ exchange: made, routing_key: \"out.#\" }}] }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: q, queue: in }} }}\n    \
         publish: {{ out: {{ broker: q, exchange: made, routing_key: out.all }} }}\n    retry: {{ max_retries: 0 }}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_seen_and_sent_back_and_deleted() {
    for kind in ["classic", "quorum"] {
        let server = RabbitServer::start().await;
        let place = Place::new();
        place.put("puppet", "puppet.wasm");
        place.configure(&config(&server, kind));
        let host = place.run().await;
        host.ready(true).await;
        let publish = |words: &[&str]| {
            let said = place.wharf(&[&["publish"], words].concat());
            assert!(said.starts_with("1 message published to q in"), "{said}");
        };
        publish(&["--to", "p/in", "--payload", "hello"]);
        for id in ["m-1", "m-2"] {
            let reject = r#"{"do":"reject"}"#;
            publish(&["q", "in", "--id", id, "--payload", reject]);
        }
        server.until("out", |d| d.ready == 1).await;
        let letters = "dlq.in.p";
        server.until(letters, |d| d.ready == 2).await;

        // More often than a queue with a limit of its own would bear.
        for _ in 0..3 {
            let listed = place.wharf(&["dlq", "list", "--json"]);
            assert!(listed.contains(r#""rejected":2"#), "{listed}");
        }
        let shown = place.wharf(&["dlq", "show", "p/in", "--limit", "1", "--json"]);
        let shown: Value =
            serde_json::from_str(shown.lines().next().expect("a line")).expect("JSON");
        assert_eq!(shown["message"]["id"], "m-1");
        let depth = server.until(letters, |d| d.unacked == 0).await;
        assert_eq!(depth.ready, 2, "looking leaves it as it was");

        let (code, refusal) = place.try_wharf(&["tail", "q", "in"]);
        assert_eq!(code, Some(64), "{refusal}");
        assert!(refusal.contains("wharf dlq show"), "{refusal}");

        let redriven = place.wharf(&["dlq", "redrive", "p/in", "--id", "m-2"]);
        assert!(redriven.starts_with("1 dead letter redriven"), "{redriven}");
        // It fails again, and says that it was sent back.
        let again = eventually("it is dead again", PATIENCE, async || {
            let shown = place.wharf(&["dlq", "show", "p/in", "--id", "m-2", "--json"]);
            shown.contains("redrives").then_some(shown)
        })
        .await;
        assert!(again.contains(r#""m-2""#), "{again}");

        let purged = place.wharf(&["dlq", "purge", "p/in", "--id", "m-1", "--yes"]);
        assert!(purged.starts_with("1 dead letter"), "{purged}");
        server
            .until(letters, |d| d.ready == 1 && d.unacked == 0)
            .await;
        stopped(host).await;
        for queue in ["in", "retry.in.p"] {
            server
                .until(queue, |d| d.ready == 0 && d.unacked == 0)
                .await;
        }
    }
}

async fn stopped(mut host: wharf_tests::host::Host) {
    host.signal("TERM");
    let status = host.exit(PATIENCE).await;
    assert!(status.success(), "every settlement was confirmed: {status}");
}
