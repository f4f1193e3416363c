//! Changing versions while messages flow: nothing is lost, nothing is repeated.

use serde_json::json;
use wharf_tests::count::{Fate, Work};
use wharf_tests::host::{Host, Place, eventually};

use super::client::{Client, PATIENCE, message, puppet};

/// A puppet is told to send `new`; a component that cannot read passes the order itself on.
fn orders(count: usize) -> Work {
    let mut work = Work::default();
    let order = json!({"do": "accept", "outputs": [{"payload": "new"}]}).to_string();
    for i in 0..count {
        work.add(message(format!("m-{i}"), order.clone()), Fate::Output);
    }
    work
}

/// Runs `change` in the middle of the flow. All must be handled once, first by the old version, then by the new.
async fn swapped_in_the_flow(reload: bool, change: impl FnOnce(&Place, &Host)) {
    let place = Place::new();
    place.put("identity", "puppet.wasm");
    place.configure(&puppet(&format!("    reload: {reload}\n")));
    let client = Client::embedded(&place.path("wharf.db"));
    let host = place.run().await;
    let mut work = Work::default();
    let mut swapped = false;
    let mut change = Some(change);
    // Until well after the swap, at most so many.
    let mut rest = 5;
    for (chunk, wanted) in orders(40_000).messages.chunks(20).zip(1u64..) {
        for message in chunk {
            work.add(message.clone(), Fate::Output);
        }
        client.publish("in", chunk.to_vec()).await;
        if wanted == 10 {
            client.until_count("out", 1).await;
            change.take().expect("once")(&place, &host);
        }
        if !swapped {
            let labels = ["result=\"swapped\""];
            swapped = host.metric("wharf_swaps_total", &labels).await == Some(1.0);
        } else if rest == 0 {
            break;
        } else {
            rest -= 1;
        }
    }
    assert!(swapped, "no new version in all that time");
    client.until_done("in", "p").await;
    let outputs = client.items("out").await;
    work.check(&outputs, &[]);
    let new: Vec<bool> = outputs.iter().map(|o| &o.payload[..] == b"new").collect();
    assert_eq!((new.first(), new.last()), (Some(&false), Some(&true)));
    assert_eq!(client.count(super::client::LETTERS).await, 0);
}

#[tokio::test]
async fn a_component_swapped_while_messages_flow_loses_and_repeats_nothing() {
    swapped_in_the_flow(true, |place, _| place.put("puppet", "puppet.wasm")).await;
}

#[tokio::test]
async fn sighup_reloads_what_is_not_watched() {
    swapped_in_the_flow(false, |place, host| {
        place.put("puppet", "puppet.wasm");
        host.signal("HUP");
    })
    .await;
}

#[tokio::test]
async fn a_bad_version_changes_nothing_and_says_why() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&puppet(""));
    let client = Client::embedded(&place.path("wharf.db"));
    let host = place.run().await;
    place.put("wrong-export", "puppet.wasm");
    host.signal("HUP");
    eventually("it is refused", PATIENCE, async || {
        let refused = host
            .metric("wharf_swaps_total", &["result=\"refused\""])
            .await;
        refused.filter(|n| *n > 0.0)
    })
    .await;
    assert!(host.said().contains("does not export"), "{}", host.said());
    client.publish("in", vec![message("m", "m")]).await;
    client.until_count("out", 1).await;
    assert_eq!(host.get("/readyz").await.0, 200);
}
