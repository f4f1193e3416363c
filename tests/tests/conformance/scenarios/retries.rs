//! A retry comes after its delay, and nothing waits for it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wharf_tests::count::{Fate, Work, message};
use wharf_tests::host::{PATIENCE, eventually};

use crate::stage::Stage;
use crate::subject::Subject;

const DELAY: Duration = Duration::from_millis(3_000);
const PLAIN: usize = 200;

/// `slow` messages fail once and wait for their second attempt; meanwhile others come and must be done first.
async fn others_go_first<B: Subject>(stage: &mut Stage<B>, slow: usize, more: &str) {
    let retry = format!(
        "    retry: {{ initial_interval: {}ms, randomization_factor: 0 }}\n",
        DELAY.as_millis()
    );
    stage.setup().with(&retry).with(more).write();
    let mut work = Work::default();
    let order = json!({"do": "retry-until", "attempt": 2, "outputs": [{}]}).to_string();
    for i in 0..slow {
        work.add(message(format!("slow-{i}"), order.clone()), Fate::Output);
    }
    let host = stage.host().await;
    let published = Instant::now();
    stage.publish(&work.messages).await;
    eventually("all have failed once", PATIENCE, async || {
        let failed = host
            .metric("wharf_attempts_total", &["error_type=\"retry\""])
            .await;
        (failed == Some(slow as f64)).then_some(())
    })
    .await;
    let failed = Instant::now();
    let plain = Work::plain("plain", PLAIN);
    stage.publish(&plain.messages).await;
    work.extend(plain);
    stage.until_ended(PLAIN as u64).await;
    let done = failed.elapsed();
    stage.until_ended(PLAIN as u64 + 1).await;
    let early = published.elapsed() < DELAY;
    assert!(!early, "a retry came after {:?}", published.elapsed());
    stage.check(&work).await;
    let outputs = stage.outputs().await;
    let first = outputs.iter().position(|o| o.id.starts_with("slow"));
    assert_eq!(
        first,
        Some(PLAIN),
        "the others were done {done:?} after the failures and did not go first"
    );
}

pub(crate) async fn a_retry_comes_at_its_time_and_blocks_nobody<B: Subject>(stage: &mut Stage<B>) {
    others_go_first(stage, 20, "").await;
}

/// More wait than the host may have in hand.
pub(crate) async fn what_waits_at_the_broker_takes_no_place_in_the_host<B: Subject>(
    stage: &mut Stage<B>,
) {
    others_go_first(stage, 60, "    concurrency: 8\n").await;
}
