//! Members of one group come and go.

use std::time::Duration;

use wharf::config::kafka::Kafka;
use wharf_tests::host::eventually;

use crate::ground::Ground;
use crate::support::*;
use crate::worker::{Seen, Worker, check_order, until_seen};

/// Publishes the numbers in pieces, so that work is under way for a while.
async fn steadily(ground: &Ground, all: usize) {
    let broker = ground.broker();
    for from in (0..all).step_by(100) {
        ground.fill(&broker, from..from + 100).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_join_and_leave_under_load_and_nothing_is_lost_repeated_or_out_of_order() {
    const ALL: usize = 6000;
    let ground = Ground::new("sharing", 6).await;
    let seen = Seen::default();
    let first = Worker::start(ground.host().await, &seen);
    let second = Worker::start(ground.host().await, &seen);
    let come_and_go = async {
        for _ in 0..3 {
            let before = seen.lock().len();
            let third = ground.host().await;
            third.is_member().await;
            let third = Worker::start(third, &seen);
            until_seen(&seen, (before + 300).min(ALL)).await;
            third.stop().await;
        }
    };
    tokio::join!(steadily(&ground, ALL), come_and_go);
    until_seen(&seen, ALL).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(
        check_order(&seen),
        0,
        "every partition was handed over in order"
    );
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_a_name_comes_back_to_its_partitions_and_its_double_is_told() {
    let ground = Ground::new("named", 1).await;
    let kafka = Kafka {
        instance_id: Some("wharf-0".into()),
        ..ground.kafka()
    };
    let mut first = host_of(&kafka, ground.spec()).await;
    ground.fill(&first.broker, 0..2).await;
    let both = first.take(2).await;
    first.accept(both).await;
    // What it has not committed yet would be its double's to handle again.
    eventually("committed", PATIENCE, async || {
        (ground.lag().await == 0).then_some(())
    })
    .await;
    let mut second = host_of(&kafka, ground.spec()).await;
    second.is_member().await;
    first.says(&["instance_id"]).await;
    ground.fill(&second.broker, 2..3).await;
    let one = second.take(1).await;
    assert_eq!(second.accept(one).await, ["m2"]);
    second.stop().await;
    assert_eq!(ground.lag().await, 0);
}

/// The client says no goodbye of its own there, and the group would wait for it: 45 seconds, all of them without a message.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_partitions_leaves_at_once() {
    let ground = Ground::new("standby", 1).await;
    let mut first = ground.host().await;
    ground.fill(&first.broker, 0..1).await;
    let one = first.take(1).await;
    first.accept(one).await;
    let standby = ground.host().await;
    standby.is_member().await;
    standby.stop().await;
    first.stop().await;

    let begun = tokio::time::Instant::now();
    let mut next = ground.host().await;
    ground.fill(&next.broker, 1..2).await;
    let one = next.take(1).await;
    assert_eq!(next.accept(one).await, ["m1"]);
    next.stop().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}
