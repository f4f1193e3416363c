//! The numbers a handler is given: attempts, over retries and a restart, and deliveries, over a crash.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharf_tests::count::{Fate, Work, message};
use wharf_tests::host::{Host, PATIENCE, eventually};

use super::kill::in_hand;
use crate::stage::Stage;
use crate::subject::Subject;

const MESSAGES: usize = 5;
/// The last attempt it is given is the fourth, with which the puppet is content.
const RETRY: &str = "    retry: { max_retries: 3, initial_interval: 700ms, multiplier: 1.0, randomization_factor: 0 }\n";

fn work() -> Work {
    let mut work = Work::default();
    let order = json!({"do": "retry-until", "attempt": 4, "outputs": [{}]}).to_string();
    for i in 0..MESSAGES {
        work.add(message(format!("m-{i}"), order.clone()), Fate::Output);
    }
    work
}

/// The attempts a host's handler was given and refused, by message: the puppet says them in its reason.
pub(super) fn given(host: &Host) -> BTreeMap<String, Vec<String>> {
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in host.lines() {
        if line["message"] == "will be tried again" {
            let id = line["message_id"].as_str().expect("an id").to_owned();
            let reason = line["reason"].as_str().expect("a reason").to_owned();
            given.entry(id).or_default().push(reason);
        }
    }
    given
}

fn all_three(given: &BTreeMap<String, Vec<String>>) {
    let each = [1, 2, 3].map(|attempt| format!("attempt {attempt} of the 4 awaited"));
    assert_eq!(given.len(), MESSAGES, "{given:?}");
    for (id, reasons) in given {
        let ends = reasons
            .iter()
            .zip(&each)
            .all(|(r, e)| r.contains(e.as_str()));
        assert!(ends && reasons.len() == 3, "{id}: {reasons:?}");
    }
}

pub(crate) async fn attempts_are_given_over_retries<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with(RETRY).write();
    let work = work();
    let host = stage.host().await;
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    all_three(&given(&host));
}

pub(crate) async fn attempts_are_given_over_retries_and_a_restart<B: Subject>(
    stage: &mut Stage<B>,
) {
    stage.setup().with(RETRY).write();
    let work = work();
    stage.publish(&work.messages).await;
    let mut host = stage.place.run().await;
    eventually("all have failed once", PATIENCE, async || {
        (given(&host).len() == MESSAGES).then_some(())
    })
    .await;
    host.signal("TERM");
    assert!(host.exit(PATIENCE).await.success());
    let mut before = given(&host);
    assert_eq!(stage.ended().await, 0, "none has reached its last attempt");

    let host = stage.place.run().await;
    stage.check(&work).await;
    let after = given(&host);
    assert!(!after.is_empty(), "the second one had work to do");
    for (id, reasons) in after {
        before.entry(id).or_default().extend(reasons);
    }
    all_three(&before);
}

/// What the handler was told, by the id of the message.
async fn told<B: Subject>(stage: &Stage<B>) -> BTreeMap<String, (Value, Value)> {
    let outputs = stage.outputs().await;
    let told = outputs.iter().map(|output| {
        let told: Value = serde_json::from_slice(&output.payload).expect("a description");
        let id = output.id.trim_end_matches(&stage.names.first()).to_owned();
        (id, (told["attempt"].clone(), told["deliveries"].clone()))
    });
    told.collect()
}

pub(crate) async fn deliveries_count_crashes_and_not_retries<B: Subject>(stage: &mut Stage<B>) {
    let describe = r#"{"do": "describe"}"#;
    let mut work = Work::default();
    let slow = "    instances: 1\n    limits: { deadline: 10m }\n";
    stage.setup().with(slow).write();
    work.add(
        message("spins", r#"{"do": "spin"}"#),
        Fate::Letter("deadline"),
    );
    let host = stage.host().await;
    stage.publish(&work.messages).await;
    in_hand(&host, 1).await;
    for i in 0..3 {
        work.add(message(format!("behind-{i}"), describe), Fate::Output);
    }
    stage.publish(&work.messages[1..]).await;
    in_hand(&host, 4).await;
    host.kill();

    // With a deadline, which it passes three times: those are attempts.
    let quick = "    instances: 1\n    limits: { deadline: 100ms }\n    retry: { max_retries: 2, initial_interval: 20ms }\n";
    stage.setup().with(quick).write();
    let _host = stage.place.run().await;
    stage.until_settled().await;
    work.add(message("later", describe), Fate::Output);
    stage.publish(&work.messages[4..]).await;
    stage.until_ended(5).await;
    stage.check(&work).await;

    let told = told(stage).await;
    assert_eq!(told["later"], (json!(1), json!(1)));
    for i in 0..3 {
        assert_eq!(told[&format!("behind-{i}")], (json!(1), json!(2)));
    }
    let letters = stage.letters().await;
    assert_eq!(letters[0].header("wharf-attempts"), Some("3"));
    assert_eq!(letters[0].header("__dlq.errors.delivery.count"), Some("2"));
}
