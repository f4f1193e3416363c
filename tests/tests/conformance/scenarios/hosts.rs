//! Several hosts on one group: each message goes to one of them.

use futures_util::future::join;
use serde_json::json;
use wharf_tests::count::{Fate, Work, message};
use wharf_tests::host::{Host, PATIENCE, eventually};

use crate::stage::{RETRY, Stage, times};
use crate::subject::Subject;

/// How many messages a host has read, repeats included.
async fn read(host: &Host) -> f64 {
    let name = "messaging_client_consumed_messages_total";
    host.metric(name, &[]).await.unwrap_or_default()
}

/// Waits until a host has read something beyond what it had.
async fn until_it_works(host: &Host) {
    let before = read(host).await;
    eventually("the host works", PATIENCE, async || {
        (read(host).await > before).then_some(())
    })
    .await;
}

pub(crate) async fn two_hosts_share_a_group<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with("    concurrency: 16\n").write();
    stage.subject.spread(&stage.names.input, 6).await;
    let hosts = [stage.host().await, stage.host().await];
    let work = Work::plain("m", 3_000);
    stage.feed(&work, 1_000).await;
    stage.check(&work).await;
    let shares = [read(&hosts[0]).await, read(&hosts[1]).await];
    assert!(shares.iter().all(|share| *share > 0.0), "{shares:?}");
    assert_eq!(shares[0] + shares[1], 3_000.0, "none was read twice");
}

pub(crate) async fn one_host_to_three_and_back_under_load<B: Subject>(stage: &mut Stage<B>) {
    stage
        .setup()
        .with(RETRY)
        .with("    concurrency: 16\n")
        .write();
    stage.subject.spread(&stage.names.input, 6).await;
    let scalings = times("WHARF_SCALINGS", 1);
    let scaling = async {
        let first = stage.place.run().await;
        until_it_works(&first).await;
        for _ in 0..scalings {
            let (second, third) = join(stage.place.run(), stage.place.run()).await;
            for host in [&first, &second, &third] {
                until_it_works(host).await;
            }
            join(stage.stop(second), stage.stop(third)).await;
            until_it_works(&first).await;
        }
        first
    };
    let (work, _host) = stage.under_load(1_000, scaling).await;
    stage.check(&work).await;
    let messages = work.messages.len();
    println!(
        "{}: {scalings} times to three hosts and back, {messages} messages",
        B::COLUMN
    );
}

/// Longer than the broker waits for a host that says nothing.
pub(crate) async fn a_slow_handler_is_not_taken_over<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with("    instances: 1\n").write();
    let mut work = Work::default();
    for i in 0..2 {
        let slow = json!({"do": "sleep", "ms": B::SLOW.as_millis() as u64}).to_string();
        work.add(message(format!("slow-{i}"), slow), Fate::Nothing);
    }
    stage.publish(&work.messages).await;
    let slow = stage.place.run().await;
    eventually("both are in hand", PATIENCE, async || {
        (slow.metric("wharf_in_flight", &[]).await == Some(2.0)).then_some(())
    })
    .await;
    let other = stage.place.run().await;
    stage.check(&work).await;
    assert_eq!((read(&slow).await, read(&other).await), (2.0, 0.0));
    let fenced = slow.metric("wharf_fenced_total", &[]).await;
    assert_eq!(fenced.unwrap_or_default(), 0.0, "it was not taken for dead");
}
