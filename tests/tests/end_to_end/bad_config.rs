//! A configuration that cannot work is named before anything is consumed, with exit code 78.

use wharf_tests::guests::guest;
use wharf_tests::host::Place;

use super::client::{Client, message, puppet};

const CONFIG_ERROR: Option<i32> = Some(78);

/// A message waits; the host on `config` must refuse to start with all of `words`, and leave the message alone.
async fn refused(config: &str, words: &[&str]) {
    let place = Place::new();
    for name in [
        "puppet",
        "not-a-component",
        "needs-http",
        "wrong-export",
        "probe-trap",
    ] {
        std::fs::copy(guest(name), place.path(&format!("{name}.wasm"))).expect("copied");
    }
    place.configure(config);
    let client = Client::embedded(&place.path("wharf.db"));
    client.publish("in", vec![message("waits", "waits")]).await;
    let (code, said) = place.refused().await;
    assert_eq!(code, CONFIG_ERROR, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert_eq!(client.count("out").await, 0);
    // With what was wrong put right, it is there and handled.
    place.configure(&puppet(""));
    let _host = place.run().await;
    client.until_done("in", "p").await;
    let ids: Vec<String> = client
        .items("out")
        .await
        .into_iter()
        .map(|i| i.id)
        .collect();
    assert_eq!(ids, ["waits/p/0"]);
}

#[tokio::test]
async fn a_wrong_key_is_named_with_its_line() {
    let wrong = puppet("    retry: { max_retires: 3 }\n");
    refused(
        &wrong,
        &[
            "max_retires",
            "wharf.yaml:11:",
            "did you mean `max_retries`",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_wrong_type_is_named() {
    refused(
        &puppet("    concurrency: many\n"),
        &["concurrency", "wharf.yaml:11:"],
    )
    .await;
}

#[tokio::test]
async fn an_unresolved_variable_is_named() {
    let wrong = puppet("    grants: { config: { region: \"${WHARF_TEST_NOT_SET}\" } }\n");
    refused(&wrong, &["WHARF_TEST_NOT_SET", "not set"]).await;
}

#[tokio::test]
async fn all_errors_are_named_at_once() {
    let wrong = puppet("    retry: { max_retires: 3 }\n    concurency: 3\n    isolation: none\n");
    refused(&wrong, &["max_retires", "concurency", "isolation"]).await;
}

#[tokio::test]
async fn a_missing_component_is_named() {
    let wrong = puppet("").replace("puppet.wasm", "nowhere.wasm");
    refused(&wrong, &["nowhere.wasm"]).await;
}

#[tokio::test]
async fn what_is_no_component_is_named() {
    let wrong = puppet("").replace("puppet.wasm", "not-a-component.wasm");
    refused(&wrong, &["plugin `p`", "not a component"]).await;
}

#[tokio::test]
async fn an_import_that_is_not_granted_is_named() {
    let wrong = puppet("").replace("puppet.wasm", "needs-http.wasm");
    refused(&wrong, &["plugin `p`", "wasi:http/outgoing-handler"]).await;
}

#[tokio::test]
async fn a_wrong_export_is_named() {
    let wrong = puppet("").replace("puppet.wasm", "wrong-export.wasm");
    refused(
        &wrong,
        &["plugin `p`", "does not export `wharf:messaging/handler"],
    )
    .await;
}

#[tokio::test]
async fn a_component_that_traps_at_its_start_is_named() {
    let wrong = puppet("").replace("puppet.wasm", "probe-trap.wasm");
    refused(&wrong, &["plugin `p`", "does not start"]).await;
}

#[tokio::test]
async fn a_second_host_on_the_same_file_names_the_first() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&puppet(""));
    let client = Client::embedded(&place.path("wharf.db"));
    let first = place.run().await;
    let (code, said) = place.refused().await;
    assert_eq!(code, CONFIG_ERROR, "{said}");
    assert!(said.contains(&format!("process {}", first.pid())), "{said}");
    client.publish("in", vec![message("m", "m")]).await;
    client.until_count("out", 1).await;
    first.kill();
    // A dead one's lock is no lock.
    let _second = place.run().await;
    client.publish("in", vec![message("n", "n")]).await;
    client.until_count("out", 2).await;
}
