//! Several hosts on one group: each message goes to one of them.

use std::collections::BTreeSet;

use serde_json::json;
use tokio::time::Instant;
use wharf::message::Outgoing;
use wharf_tests::count::{Fate, Work, message};
use wharf_tests::host::{Host, PATIENCE, Place, eventually, eventually_or};

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

/// Waits until each of these hosts, and none beside them, has its share. Answers the members of the group, where the
/// broker has such.
async fn until_shared<B: Subject>(stage: &Stage<B>, hosts: &[&Host]) -> BTreeSet<String> {
    for host in hosts {
        until_it_works(host).await;
    }
    eventually_or("the group is shared out", PATIENCE, async || {
        match stage.subject.members(&stage.names.plugin).await {
            None => Ok(BTreeSet::new()),
            Some(members) if members.len() == hosts.len() => Ok(members),
            Some(members) => Err(members),
        }
    })
    .await
}

/// One after the other, so that each coming and going is a change of its own.
pub(crate) async fn one_host_to_three_and_back_under_load<B: Subject>(stage: &mut Stage<B>) {
    let stage = &*stage;
    stage
        .setup()
        .with(RETRY)
        .with("    concurrency: 16\n")
        .write();
    stage.subject.spread(&stage.names.input, 6).await;
    let scalings = times("WHARF_SCALINGS", 1);
    let scaling = async {
        let first = stage.place.run().await;
        let mut members = vec![until_shared(stage, &[&first]).await];
        for _ in 0..scalings {
            let second = stage.place.run().await;
            members.push(until_shared(stage, &[&first, &second]).await);
            let third = stage.place.run().await;
            members.push(until_shared(stage, &[&first, &second, &third]).await);
            stage.stop(third).await;
            members.push(until_shared(stage, &[&first, &second]).await);
            stage.stop(second).await;
            members.push(until_shared(stage, &[&first]).await);
        }
        (first, members)
    };
    let (work, (_host, members)) = stage.under_load(1_000, scaling).await;
    stage.check(&work).await;
    let messages = work.messages.len();
    println!(
        "{}: {scalings} times to three hosts and back, {messages} messages",
        B::COLUMN
    );
    if members.iter().any(|members| !members.is_empty()) {
        let changes = members.windows(2).filter(|two| two[0] != two[1]);
        let rebalances = changes.count();
        println!("{}: {rebalances} rebalances", B::COLUMN);
        assert!(rebalances >= scalings * 4, "{members:?}");
    }
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

/// So many at a time: of several keys, so that each partition has some.
const PIECE: usize = 24;

async fn publish_more<B: Subject>(stage: &Stage<B>, work: &mut Work, payload: &str) {
    let first = work.messages.len();
    for i in first..first + PIECE {
        let message = Outgoing {
            key: Some(format!("key-{}", i % PIECE).into()),
            ..message(format!("m-{i}"), payload.to_owned())
        };
        work.add(message, Fate::Output);
    }
    stage.publish(&work.messages[first..]).await;
}

/// Two hosts, and what one of them has in hand when it is killed. That one sleeps over it; the other has a component that
/// does not read orders and passes them on.
pub(crate) async fn a_dead_hosts_work_is_taken_over_in_time<B: Subject>(stage: &mut Stage<B>) {
    let stage = &*stage;
    let long = "    limits: { deadline: 10m }\n";
    stage.setup().with(long).write();
    stage.subject.spread(&stage.names.input, 6).await;
    let elsewhere = Place::new();
    elsewhere.put("identity", "puppet.wasm");
    let config = "wharf.yaml";
    std::fs::copy(stage.place.path(config), elsewhere.path(config)).expect("copied");
    let dying = stage.host().await;
    let living = elsewhere.run().await;
    living.ready(true).await;

    let mut work = Work::default();
    let end = Instant::now() + PATIENCE;
    while read(&dying).await == 0.0 || read(&living).await == 0.0 {
        assert!(Instant::now() < end, "both have their share of the work");
        publish_more(stage, &mut work, "a message").await;
        stage.until_ended(work.messages.len() as u64).await;
    }
    // Nothing but what it sleeps over is to come again.
    stage.until_settled().await;

    let order = json!({"do": "sleep", "ms": 600_000}).to_string();
    let end = Instant::now() + PATIENCE;
    let held = loop {
        assert!(Instant::now() < end, "it has something in hand");
        publish_more(stage, &mut work, &order).await;
        let all = work.messages.len() as u64;
        let held = eventually_or("the others have ended", PATIENCE, async || {
            let held = dying.metric("wharf_in_flight", &[]).await;
            let (held, ended) = (held.unwrap_or_default() as u64, stage.ended().await);
            let left = all.saturating_sub(ended);
            (left == held).then_some(held).ok_or((left, held))
        });
        match held.await {
            0 => {}
            held => break held,
        }
    };
    let killed = Instant::now();
    dying.kill();
    stage.until_ended(work.messages.len() as u64).await;
    let took = killed.elapsed();
    println!("{}: {held} taken over in {took:?}", B::COLUMN);
    assert!(took < B::TAKEOVER, "{took:?} until {held} were taken over");
    stage.check_after_a_crash(&work).await;
}
