//! A server that is absent, dies, is cut off, or loses the source: the host waits, and goes on by itself.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wharf_tests::count::{Fate, Work, message};
use wharf_tests::host::{PATIENCE, eventually};

use super::kill::in_hand;
use crate::stage::{RETRY, Stage, times};
use crate::subject::Subject;

/// How much later a piece of data is, each way.
const LATE: Duration = Duration::from_millis(50);
/// How long it may take from the answer of a server that was restarted until work goes on.
const RECOVERY: Duration = Duration::from_secs(5);

pub(crate) async fn a_server_absent_at_start_is_waited_for<B: Subject>(stage: &mut Stage<B>) {
    stage.subject.down();
    stage.setup().write();
    let host = stage.place.run().await;
    let said = host.ready(false).await;
    assert_eq!(said["waiting"][0]["broker"], "b", "{said}");
    let reason = said["waiting"][0]["reason"].as_str();
    assert!(reason.is_some_and(|reason| !reason.is_empty()), "{said}");
    assert_eq!(host.get("/livez").await.0, 200, "no reason to restart it");
    stage.subject.up().await;
    host.ready(true).await;
    let work = Work::plain("m", 200);
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    stage.stop(host).await;
}

pub(crate) async fn a_server_restarted_under_load_loses_nothing<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with(RETRY).write();
    let restarts = times("WHARF_RESTARTS", 4);
    let work = Work::mixed(restarts * 1_000);
    let host = stage.place.run().await;
    for piece in work.messages.chunks(1_000) {
        // What is repeated after a kill is among them, so they are counted from here.
        let before = stage.ended().await;
        stage.publish(piece).await;
        // It is killed in the middle of the piece, and the rest of it is done when it is back.
        stage.until_ended(before + 100).await;
        let all = before + piece.len() as u64;
        let under_load = stage.ended().await < all;
        stage.subject.down();
        assert!(under_load, "all was done before the server was killed");
        stage.subject.up().await;
        let back = Instant::now();
        let done = stage.ended().await;
        stage.until_ended(all.min(done + 1)).await;
        let took = back.elapsed();
        println!("{}: {took:?} after the server was back", B::COLUMN);
        assert!(took < RECOVERY, "{took:?} until work went on");
    }
    stage.check_after_a_crash(&work).await;
    let messages = work.messages.len();
    println!(
        "{}: {restarts} restarts of the server, {messages} messages",
        B::COLUMN
    );
    host.ready(true).await;
}

/// Few messages are read at a time, so that most cuts hit a read and what it was bringing.
pub(crate) async fn connections_cut_under_load_lose_nothing<B: Subject>(stage: &mut Stage<B>) {
    let proxy = stage.subject.proxy().await;
    let setup = stage.setup().through(proxy.port()).with(RETRY);
    setup.with("    concurrency: 8\n").write();
    let host = stage.place.run().await;
    let cutting = async {
        for _ in 0..20 {
            let done = stage.ended().await;
            stage.until_ended(done + 50).await;
            proxy.cut();
        }
    };
    let (work, ()) = stage.under_load(500, cutting).await;
    stage.check_after_a_crash(&work).await;
    host.ready(true).await;
}

/// Every piece of data is late, each way, whatever the host is doing.
pub(crate) async fn a_slow_network_costs_time_and_nothing_else<B: Subject>(stage: &mut Stage<B>) {
    let proxy = stage.subject.proxy().await;
    let setup = stage.setup().through(proxy.port()).with(RETRY);
    setup.write();
    proxy.delay(LATE);
    let host = stage.place.run().await;
    let mut work = Work::mixed(300);
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    // It stops in the middle of the work, and another one goes on.
    let more = Work::mixed_from(300, 300);
    stage.publish(&more.messages).await;
    work.extend(more);
    stage.until_ended(400).await;
    let said = stage.stop(host).await;
    assert!(said.contains("stopped"), "{said}");
    let host = stage.place.run().await;
    stage.check(&work).await;
    proxy.heal();
    host.ready(true).await;
}

/// What was in it is gone, what is in hand cannot be settled; what comes after is handled.
pub(crate) async fn a_source_deleted_while_it_is_read_is_gone_on_with<B: Subject>(
    stage: &mut Stage<B>,
) {
    stage.setup().with("    instances: 1\n").write();
    let host = stage.place.run().await;
    let before = Work::plain("before", 100);
    stage.publish(&before.messages).await;
    stage.check(&before).await;

    let mut gone = Work::default();
    let slow = json!({"do": "sleep", "ms": 500}).to_string();
    for i in 0..2 {
        gone.add(message(format!("slow-{i}"), slow.clone()), Fate::Nothing);
    }
    stage.publish(&gone.messages).await;
    in_hand(&host, 2).await;
    stage.subject.delete(&stage.names.input).await;
    if !stage.row.is.makes_destinations {
        // Until somebody makes it again, the host says what it waits for.
        host.ready(false).await;
        stage.subject.create(&stage.names.input).await;
    }
    let mut work = Work::plain("after", 200);
    stage.publish(&work.messages).await;
    work.extend(before);
    work.extend(gone);
    stage.check(&work).await;
    eventually("nothing is in hand", PATIENCE, async || {
        (host.metric("wharf_in_flight", &[]).await == Some(0.0)).then_some(())
    })
    .await;
    host.ready(true).await;
}
