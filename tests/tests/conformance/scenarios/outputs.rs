//! Outputs come before the acceptance: a destination that is away, missing, unwilling, or never able.

use serde_json::json;
use wharf_tests::count::{Fate, Work, message};
use wharf_tests::host::{Host, PATIENCE, eventually, eventually_or};

use super::messages::check_same;
use crate::stage::Stage;
use crate::subject::{Left, Subject};

/// Waits until the host says that the subscription is paused for its destination.
async fn until_paused(host: &Host) {
    eventually("a paused subscription", PATIENCE, async || {
        let said = host.ready(false).await;
        let waiting = said["waiting"].as_array().expect("a list");
        waiting
            .iter()
            .any(|w| w["subscription"] == "in" && w["reason"].as_str() != Some(""))
            .then_some(())
    })
    .await;
    assert_eq!(host.metric("wharf_paused", &[]).await, Some(1.0));
}

/// Some have come, all the others wait, none of them accepted.
async fn all_wait<B: Subject>(stage: &Stage<B>, count: u64) {
    let left = stage.left().await;
    let Left {
        waiting, pending, ..
    } = left;
    assert_eq!(waiting + pending, count, "{left:?}");
}

pub(crate) async fn outputs_are_confirmed_before_the_message_is_accepted<B: Subject>(
    stage: &mut Stage<B>,
) {
    let mut elsewhere = stage.elsewhere();
    elsewhere.up().await;
    let there = stage.names.output.clone();
    elsewhere.create(&there).await;
    stage.setup().to(&elsewhere).write();
    let host = stage.host().await;
    let mut work = Work::plain("before", 50);
    stage.publish(&work.messages).await;
    stage.until_settled().await;
    work.check(&elsewhere.items(&there).await, &[]);

    elsewhere.down();
    let away = Work::plain("away", 100);
    stage.publish(&away.messages).await;
    until_paused(&host).await;
    all_wait(stage, 100).await;
    elsewhere.up().await;
    stage.until_settled().await;
    work.extend(away);
    work.check(&elsewhere.items(&there).await, &stage.letters().await);
    host.ready(true).await;
}

/// Refused for what it is: the message becomes a dead letter, and none of its outputs is sent.
pub(crate) async fn an_undeliverable_output_is_a_dead_letter<B: Subject>(stage: &mut Stage<B>) {
    let more = "    limits: { output: 32MiB }\n    retry: { max_retries: 3 }\n";
    stage.setup().with(more).write();
    let mut work = Work::plain("m", 20);
    let never = json!({"do": "accept", "outputs": [B::unpublishable()]}).to_string();
    for i in 0..3 {
        let refused = message(format!("refused-{i}"), never.clone());
        work.add(refused, Fate::Letter("undeliverable"));
    }
    let among = json!({"do": "accept", "outputs": [{}, B::unpublishable(), {}]}).to_string();
    work.add(message("among", among), Fate::Letter("undeliverable"));
    let host = stage.host().await;
    stage.publish(&work.messages).await;
    stage.until_ended(20 + 4).await;
    stage.until_settled().await;
    let (mut outputs, letters) = (stage.outputs().await, stage.letters().await);
    if !stage.row.can.atomic {
        // Those beside it may have been sent before it was refused.
        outputs.retain(|output| !output.id.starts_with("among"));
    }
    work.check(&outputs, &letters);
    check_same(&letters, &work.messages[20..], "");
    for letter in &letters {
        assert_eq!(letter.header("wharf-attempts"), Some("1"), "{}", letter.id);
    }
    host.ready(true).await;
}

pub(crate) async fn an_absent_destination_is_made_or_waited_for<B: Subject>(stage: &mut Stage<B>) {
    let absent = &format!("absent.{}", stage.names.plugin);
    stage.setup().out(absent).write();
    let host = stage.host().await;
    let work = Work::plain("m", 20);
    stage.publish(&work.messages).await;
    if !stage.row.is.makes_destinations {
        until_paused(&host).await;
        all_wait(stage, 20).await;
        stage.subject.create(absent).await;
    }
    eventually_or("outputs", PATIENCE, async || {
        match stage.subject.count(absent).await {
            20 => Ok(()),
            found => Err(found),
        }
    })
    .await;
    stage.until_settled().await;
    let outputs = stage.subject.items(absent).await;
    work.check(&outputs, &stage.letters().await);
    host.ready(true).await;
}

pub(crate) async fn a_destination_that_refuses_is_waited_for<B: Subject>(stage: &mut Stage<B>) {
    stage.subject.obstruct(&stage.names.output, true).await;
    stage.setup().write();
    let host = stage.host().await;
    let work = Work::plain("m", 20);
    stage.publish(&work.messages).await;
    until_paused(&host).await;
    all_wait(stage, 20).await;
    stage.subject.obstruct(&stage.names.output, false).await;
    stage.check(&work).await;
    host.ready(true).await;
}
