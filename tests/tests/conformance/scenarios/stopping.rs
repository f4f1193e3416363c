//! Stopping under load.

use serde_json::{Value, json};
use wharf_tests::count::{Fate, Work, message};

use super::kill::in_hand;
use crate::stage::{RETRY, Stage};
use crate::subject::Subject;

/// Three hosts stop, one after the other, in the middle of the work; each goes on where the one before it stopped.
pub(crate) async fn sigterm_under_load_loses_and_repeats_nothing<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with(RETRY).write();
    let stopping = async {
        for _ in 0..3 {
            let done = stage.ended().await;
            let host = stage.place.run().await;
            stage.until_ended(done + 500).await;
            let said = stage.stop(host).await;
            assert!(said.contains("stopped"), "{said}");
        }
        stage.place.run().await
    };
    let (work, _host) = stage.under_load(2_000, stopping).await;
    // Exactly once, also where a crash might repeat something: stopping is none.
    stage.check(&work).await;
}

/// What a host has no time for, it gives back: not charged, not lost, and not done twice.
pub(crate) async fn what_a_stopping_host_cannot_finish_is_given_back<B: Subject>(
    stage: &mut Stage<B>,
) {
    let slow = json!({"do": "sleep", "ms": 300}).to_string();
    stage.setup().drain("1s").with("    instances: 1\n").write();
    let mut work = Work::default();
    for i in 0..8 {
        work.add(message(format!("slow-{i}"), slow.clone()), Fate::Nothing);
    }
    let host = stage.host().await;
    stage.publish(&work.messages).await;
    in_hand(&host, 8).await;
    // They are behind the slow ones, and say how often they were tried.
    for i in 0..50 {
        let describe = message(format!("behind-{i}"), r#"{"do": "describe"}"#);
        work.add(describe, Fate::Output);
    }
    stage.publish(&work.messages[8..]).await;
    in_hand(&host, 50).await;
    let said = stage.stop(host).await;
    assert!(said.contains("stopped"), "{said}");
    assert_eq!(stage.ended().await, 0, "there was no time for those behind");
    let left = stage.left().await;
    assert!(left.waiting + left.pending >= 50, "{left:?}");

    let _host = stage.host().await;
    stage.check(&work).await;
    for output in stage.outputs().await {
        let told: Value = serde_json::from_slice(&output.payload).expect("a description");
        let numbers = (&told["attempt"], &told["deliveries"]);
        assert_eq!(numbers, (&json!(1), &json!(1)), "{}", output.id);
    }
}
