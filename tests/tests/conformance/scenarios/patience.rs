//! A broker that waits only so long for a settlement: what would outlast it goes back in time, and nothing is handled twice.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep_until};
use wharf::message::Outgoing;
use wharf_tests::count::{Fate, Work, message};
use wharf_tests::host::{Host, PATIENCE, eventually_or};

use super::attempts::given;
use crate::stage::Stage;
use crate::subject::{Left, Subject};

/// How long the broker waits.
const WAITS: Duration = Duration::from_secs(4);
/// Less than half of it.
const DEADLINE: &str = "    limits: { deadline: 1500ms }\n";

async fn runs(host: &Host) -> f64 {
    host.metric("wharf_attempts_total", &[])
        .await
        .unwrap_or_default()
}

/// The broker has never lost patience: it would say so.
fn never_lost(host: &Host) {
    let lines = host.lines().into_iter();
    let lost = lines.filter(|line| {
        let line = line.to_string();
        line.contains("PRECONDITION") || line.contains("timeout") || line.contains("timed out")
    });
    let lost: Vec<_> = lost.collect();
    assert!(lost.is_empty(), "the broker lost patience: {lost:?}");
}

/// Retries that wait in the host, because their order is promised, for longer than the broker does.
pub(crate) async fn retries_that_outlast_the_brokers_patience_are_counted<B: Subject>(
    stage: &mut Stage<B>,
) {
    const KEYS: usize = 5;
    stage.subject.lose_patience(WAITS).await;
    stage.subject.keep_order(&stage.names.input).await;
    let retry = "    order: key\n    retry: { max_retries: 3, initial_interval: 1700ms, multiplier: 1.0, randomization_factor: 0 }\n";
    stage.setup().with(DEADLINE).with(retry).write();
    let mut work = Work::default();
    for (attempt, name) in [(4, "first"), (1, "then")] {
        let order = json!({"do": "retry-until", "attempt": attempt, "outputs": [{}]}).to_string();
        for i in 0..KEYS {
            let message = Outgoing {
                key: Some(format!("key-{i}").into()),
                ..message(format!("{name}-{i}"), order.clone())
            };
            work.add(message, Fate::Output);
        }
    }
    let host = stage.host().await;
    let began = Instant::now();
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    assert!(began.elapsed() > WAITS, "{:?}", began.elapsed());
    never_lost(&host);
    let given = given(&host);
    assert_eq!(given.len(), KEYS, "{given:?}");
    for (id, reasons) in &given {
        let told: Vec<String> = (1..=3)
            .map(|attempt| format!("attempt {attempt} of the 4 awaited"))
            .collect();
        let as_told = reasons
            .iter()
            .zip(&told)
            .all(|(r, t)| r.contains(t.as_str()));
        assert!(as_told && reasons.len() == 3, "{id}: {reasons:?}");
    }
    assert_eq!(runs(&host).await, (KEYS * 4 + KEYS) as f64);
    let outputs = stage.outputs().await;
    let place = |id: String| outputs.iter().position(|o| o.id.starts_with(&id));
    for i in 0..KEYS {
        assert!(place(format!("first-{i}")) < place(format!("then-{i}")));
    }
}

/// More is in hand than is handled while the broker waits.
pub(crate) async fn a_window_that_outlasts_the_brokers_patience_is_handled_once<B: Subject>(
    stage: &mut Stage<B>,
) {
    const SLOW: usize = 15;
    stage.subject.lose_patience(WAITS).await;
    let one = "    instances: 1\n    concurrency: 8\n";
    stage.setup().with(DEADLINE).with(one).write();
    let mut work = Work::default();
    for i in 0..SLOW {
        let order = json!({"do": "sleep", "ms": 500}).to_string();
        work.add(message(format!("m-{i}"), order), Fate::Nothing);
    }
    let host = stage.host().await;
    let began = Instant::now();
    stage.publish(&work.messages).await;
    eventually_or("all are handled", PATIENCE, async || {
        match runs(&host).await {
            runs if runs >= SLOW as f64 => Ok(()),
            runs => Err(runs),
        }
    })
    .await;
    stage.check(&work).await;
    assert!(began.elapsed() > WAITS, "{:?}", began.elapsed());
    never_lost(&host);
    assert_eq!(runs(&host).await, SLOW as f64, "each of them once");
}

/// A destination that is away for longer than the broker waits: outputs are discarded in time, and messages that have
/// to be handled again are not charged for it.
pub(crate) async fn outputs_that_outlast_the_brokers_patience_are_made_anew<B: Subject>(
    stage: &mut Stage<B>,
) {
    stage.subject.lose_patience(WAITS).await;
    stage.subject.obstruct(&stage.names.output, true).await;
    stage.setup().with(DEADLINE).write();
    let host = stage.host().await;
    let work = Work::plain("m", 20);
    stage.publish(&work.messages).await;
    sleep_until(Instant::now() + WAITS * 2).await;
    stage.subject.obstruct(&stage.names.output, false).await;
    stage.check(&work).await;
    never_lost(&host);
    assert!(runs(&host).await > 20.0, "they were made anew");
    let charged = host.metric("wharf_attempts_total", &["error_type=\"retry\""]);
    assert_eq!(charged.await.unwrap_or_default(), 0.0);
}

/// A subscription that stands still: what it has in hand and what was read ahead is the broker's again, and stays so.
pub(crate) async fn what_a_halted_subscription_has_in_hand_goes_back<B: Subject>(
    stage: &mut Stage<B>,
) {
    const BEHIND: usize = 40;
    stage.subject.lose_patience(WAITS).await;
    stage.subject.keep_order(&stage.names.input).await;
    let halts = "    order: source\n    on_dead_letter: halt\n    concurrency: 8\n";
    stage.setup().with(DEADLINE).with(halts).write();
    let mut work = Work::default();
    let reject = message("bad", json!({"do": "reject"}).to_string());
    work.add(reject, Fate::Letter("rejected"));
    work.extend(Work::plain("m", BEHIND));
    stage.publish(&work.messages).await;
    let host = stage.host().await;
    let back = Left {
        waiting: BEHIND as u64,
        ..Left::NOTHING
    };
    let until_back = async |stage: &Stage<B>| {
        eventually_or("all is back", PATIENCE, async || match stage.left().await {
            left if left == back => Ok(()),
            left => Err(left),
        })
        .await;
    };
    until_back(stage).await;
    // It is not fetched again only to be given back again.
    let end = Instant::now() + WAITS * 2;
    while Instant::now() < end {
        assert_eq!(stage.left().await, back);
    }
    never_lost(&host);
    assert_eq!(runs(&host).await, 1.0);
    stage.stop(host).await;
    let host = stage.host().await;
    stage.check(&work).await;
    assert_eq!(runs(&host).await, BEHIND as f64);
}
