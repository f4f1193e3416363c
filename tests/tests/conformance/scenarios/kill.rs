//! `kill -9`: with messages in hand, and at moments nobody chose.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;
use wharf_tests::count::{Fate, Item, Work, message};
use wharf_tests::host::{Host, PATIENCE, eventually};

use crate::stage::{RETRY, Stage, times};
use crate::subject::Subject;

/// Published for each host that is killed in its work.
const MESSAGES: usize = 500;
/// Most messages that may come again after a host died: one window of one consumer.
const WINDOW: usize = 1_000;
/// Most messages that are published and have not ended, so that publishing goes on through every kill.
const AHEAD: u64 = 400;
/// Keys they have where order is promised: handled one after the other within each, and all beside each other. A prime, so
/// that each has messages of every fate.
const KEYS: usize = 17;

/// One message never ends, the others wait behind it: all are in hand when the host dies.
pub(crate) async fn what_a_dead_host_had_in_hand_comes_again<B: Subject>(stage: &mut Stage<B>) {
    let slow = "    instances: 1\n    limits: { deadline: 10m }\n";
    stage.setup().with(slow).write();
    let mut work = Work::plain("m", 49);
    work.add(message("spins", r#"{"do": "spin"}"#), Fate::Output);
    stage.publish(&work.messages[49..]).await;
    let host = stage.place.run().await;
    in_hand(&host, 1).await;
    stage.publish(&work.messages[..49]).await;
    in_hand(&host, 50).await;
    host.kill();
    let left = stage.left().await;
    assert_eq!(left.waiting + left.pending, 50, "{left:?}");
    assert_eq!(stage.ended().await, 0, "nothing had ended");

    // A component that does not read orders: it passes them on.
    stage.place.put("identity", "puppet.wasm");
    let _host = stage.place.run().await;
    stage.check(&work).await;
}

/// Waits until the host has so many messages, one of them in its handler.
pub(super) async fn in_hand(host: &Host, messages: u32) {
    eventually("messages are in hand", PATIENCE, async || {
        let runs = host.metric("wharf_instances", &[]).await >= Some(1.0);
        let holds = host.metric("wharf_in_flight", &[]).await >= Some(f64::from(messages));
        (runs && holds).then_some(())
    })
    .await;
}

/// Random, and printed, and taken from `WHARF_SEED` where that is set.
fn random() -> fastrand::Rng {
    let seed = std::env::var("WHARF_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("WHARF_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Kills host after host: each in its work, once so much of it is done, and one more while it starts.
async fn kill_and_restart<B: Subject>(
    stage: &Stage<B>,
    kills: usize,
    mut random: fastrand::Rng,
) -> Host {
    let messages = (kills * MESSAGES) as u64;
    let (low, high) = (messages / 20, messages * 17 / 20);
    let mut marks: Vec<u64> = (0..kills).map(|_| random.u64(low..high)).collect();
    marks.sort_unstable();
    for mark in marks {
        let host = stage.place.spawn();
        stage.until_ended(mark).await;
        // Nothing is waited for here: the moment is to be any.
        sleep(Duration::from_micros(random.u64(0..20_000))).await;
        host.kill();
        let starting = stage.place.spawn();
        sleep(Duration::from_micros(random.u64(0..150_000))).await;
        starting.kill();
    }
    stage.place.run().await
}

/// Kills hosts while they work, and counts. Answers the outputs without repeats.
async fn kill_at_any_moment<B: Subject>(stage: &Stage<B>, kills: usize, work: &Work) -> Vec<Item> {
    let killing = kill_and_restart(stage, kills, random());
    let ((), host) = join(stage.feed(work, AHEAD), killing).await;
    let outputs = stage.check_after_a_crash(work).await;
    let ended = usize::try_from(stage.ended().await).expect("a count");
    let repeats = ended - work.ending(|fate| fate != Fate::Nothing);
    println!(
        "{}: {kills} hosts killed in their work and {kills} at their start, {} messages, {repeats} repeated",
        B::COLUMN,
        work.messages.len()
    );
    assert!(repeats <= kills * WINDOW, "{repeats} came again");
    assert_eq!(host.metric("wharf_in_flight", &[]).await, Some(0.0));
    outputs
}

pub(crate) async fn kill_nine_at_any_moment_loses_nothing<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with(RETRY).write();
    let kills = times("WHARF_KILLS", 6);
    let work = Work::mixed(kills * MESSAGES);
    kill_at_any_moment(stage, kills, &work).await;
}

/// Apart from the one above: under an order promise brokers are read and given back to in another way.
pub(crate) async fn kill_nine_at_any_moment_keeps_each_key_in_order<B: Subject>(
    stage: &mut Stage<B>,
) {
    stage.subject.keep_order(&stage.names.input).await;
    stage.setup().with(RETRY).with("    order: key\n").write();
    let kills = times("WHARF_KILLS", 6);
    let work = Work::mixed(kills * MESSAGES).with_keys(KEYS);
    let outputs = kill_at_any_moment(stage, kills, &work).await;
    work.check_order(&outputs);
    println!("{}: {KEYS} keys, each in order", B::COLUMN);
}
