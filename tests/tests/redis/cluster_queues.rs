//! Lists, sorted sets and channels of a cluster.

use std::sync::Arc;

use redis::Value;
use wharf::broker::redis::retry_stream_in_cluster;
use wharf::commit::{Destination, Publication};
use wharf::message::Outgoing;
use wharf::place::PlaceKind;
use wharf::ports::{Broker, Committed, Health, SubscriptionSpec};
use wharf_tests::redis_cluster::RedisCluster;

use crate::cluster::{apart, options_of};
use crate::faults::{settle_stubbornly, work_until};
use crate::queues::KINDS;
use crate::support::*;

fn of(kind: PlaceKind, place: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        kind,
        address: place.into(),
        ..spec()
    }
}

async fn reader(cluster: &RedisCluster, kind: PlaceKind, place: &str) -> Host {
    host_with(options_of(cluster), of(kind, place)).await
}

/// Puts plain values there, as any client would, the first of them to be read first.
async fn push(cluster: &RedisCluster, kind: PlaceKind, place: &str, from_to: std::ops::Range<u32>) {
    let mut pipe = redis::pipe();
    for n in from_to {
        match kind {
            PlaceKind::List => pipe.cmd("LPUSH").arg(place).arg(n),
            _ => pipe.cmd("ZADD").arg(place).arg(1000 - n).arg(n),
        };
    }
    let _lengths: Vec<Value> = pipe
        .query_async(&mut cluster.client(place).await)
        .await
        .expect("pushed");
}

async fn count(cluster: &RedisCluster, verb: &str, key: &str) -> i64 {
    let mut cmd = redis::cmd(verb);
    cmd.arg(key);
    let answer = cmd.query_async(&mut cluster.client(key).await).await;
    answer.expect("a count")
}

/// What is taken and not settled.
async fn in_hand(cluster: &RedisCluster, place: &str) -> i64 {
    count(
        cluster,
        "HLEN",
        &format!("wharf:queue:{{{place}}}:{place}:items"),
    )
    .await
}

fn put(kind: PlaceKind, place: &str, id: &str) -> Publication {
    Publication {
        destination: Arc::new(Destination::new("out", "events", kind, place)),
        message: Outgoing {
            destination: "out".into(),
            id: Some(id.into()),
            payload: "x".into(),
            ..Outgoing::default()
        },
    }
}

#[tokio::test]
async fn lists_and_sorted_sets_of_all_nodes_are_read_and_written() {
    let cluster = RedisCluster::start().await;
    for kind in KINDS {
        let verb = if kind == PlaceKind::List {
            "LLEN"
        } else {
            "ZCARD"
        };
        for place in apart(&cluster).await {
            let place = format!("{place}-{}", kind.key());
            push(&cluster, kind, &place, 0..50).await;
            let mut host = reader(&cluster, kind, &place).await;
            let taken = host.take(50).await;
            assert_eq!(in_hand(&cluster, &place).await, 50);
            // One in the slot of the place, and one at each node.
            let elsewhere = apart(&cluster).await;
            let results = host
                .commit(taken, |parcel| {
                    let id = format!("{place}/{}", parcel.message.id);
                    let beside = put(kind, &format!("{{{place}}}.out"), &id);
                    let others = elsewhere.iter();
                    let others = others.map(|s| put(kind, &format!("{place}-out-{{{s}}}"), &id));
                    std::iter::once(beside).chain(others).collect()
                })
                .await;
            assert!(results.iter().all(|r| *r == Committed::Done), "{results:?}");
            assert_eq!(in_hand(&cluster, &place).await, 0);
            let beside = format!("{{{place}}}.out");
            assert_eq!(count(&cluster, verb, &beside).await, 50);
            for s in &elsewhere {
                let key = format!("{place}-out-{{{s}}}");
                assert_eq!(count(&cluster, verb, &key).await, 50, "{key}");
            }
            let lag = host.broker.lag(&of(kind, &place)).await.unwrap();
            assert_eq!((lag.waiting, lag.pending), (0, 0));
            host.close().await;
        }
    }
}

#[tokio::test]
async fn a_released_item_of_a_cluster_comes_again_with_its_attempts() {
    let cluster = RedisCluster::start().await;
    for kind in KINDS {
        let place = format!("again-{}", kind.key());
        push(&cluster, kind, &place, 0..1).await;
        let mut host = reader(&cluster, kind, &place).await;
        let taken = host.take(1).await;
        host.release(taken, None, 2).await;
        let again = host.take(1).await;
        assert_eq!(again[0].message().attempts, 2);
        host.accept(again).await;
        assert_eq!(in_hand(&cluster, &place).await, 0);
        host.close().await;
    }
}

#[tokio::test]
async fn only_what_is_in_the_slot_of_a_list_is_one_step() {
    let cluster = RedisCluster::start().await;
    let host = reader(&cluster, PlaceKind::List, "{shop}.jobs").await;
    let destination = |place: &str| Destination::new("out", "events", PlaceKind::List, place);
    assert!(host.settler.atomic_with(&destination("{shop}.bills")));
    assert!(!host.settler.atomic_with(&destination("bills")));
    for kind in KINDS {
        let unusable = host
            .broker
            .subscribe(of(kind, "jo}bs"), wharf::delivery::Inbox::new());
        assert!(unusable.await.is_err(), "its keys would be elsewhere");
    }
}

#[tokio::test]
async fn a_list_that_moves_while_it_is_waited_for_is_followed() {
    let cluster = RedisCluster::start().await;
    push(&cluster, PlaceKind::List, "jobs", 0..50).await;
    let mut host = reader(&cluster, PlaceKind::List, "jobs").await;
    let taken = host.take(50).await;
    let from = cluster.owner("jobs").await.unwrap();
    let masters = cluster.masters().await;
    let to = masters.into_iter().find(|port| *port != from).unwrap();
    cluster.migrate("jobs", to, async {}).await;
    assert_eq!(cluster.owner("jobs").await, Some(to));
    push(&cluster, PlaceKind::List, "jobs", 50..60).await;
    settle_stubbornly(&mut host, taken).await;
    work_until(&mut host, &numbers(50..60)).await;
    until("all is settled", || async {
        in_hand(&cluster, "jobs").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_list_outlives_the_node_it_was_on() {
    let mut cluster = RedisCluster::start().await;
    let mut host = reader(&cluster, PlaceKind::List, "jobs").await;
    push(&cluster, PlaceKind::List, "jobs", 0..200).await;
    work_until(&mut host, &numbers(0..200)).await;
    push(&cluster, PlaceKind::List, "jobs", 200..300).await;
    let taken = host.take(50).await;
    let mut wait = redis::cmd("WAIT");
    wait.arg(1).arg(15_000);
    let mut pipe = redis::pipe();
    pipe.cmd("LLEN").arg("jobs").add_command(wait);
    let answers: Vec<Value> = pipe
        .query_async(&mut cluster.client("jobs").await)
        .await
        .unwrap();
    assert!(matches!(answers[1], Value::Int(1..)), "{answers:?}");
    let dead = cluster.owner("jobs").await.unwrap();
    cluster.kill(dead);
    until("a replica is promoted", || async {
        cluster.owner("jobs").await.is_some_and(|port| port != dead)
    })
    .await;
    let first = payloads(&taken);
    settle_stubbornly(&mut host, taken).await;
    let rest = numbers(200..300).difference(&first).cloned().collect();
    work_until(&mut host, &rest).await;
    until("all is settled", || async {
        in_hand(&cluster, "jobs").await == 0
    })
    .await;
    assert_eq!(count(&cluster, "LLEN", "jobs").await, 0);
}

#[tokio::test]
async fn a_dead_letter_in_a_list_comes_back_from_another_slot() {
    let cluster = RedisCluster::start().await;
    let places = apart(&cluster).await;
    let (jobs, letters) = (&*places[0], &*places[1]);
    let mut host = reader(&cluster, PlaceKind::List, jobs).await;
    push(&cluster, PlaceKind::List, letters, 7..8).await;
    let seen = host.broker.look(PlaceKind::List, letters, 0, 0, 10).await;
    let seen = seen.unwrap();
    let position = seen[0].origin.position.to_string();
    let retry = retry_stream_in_cluster(jobs, "orders-in", "biller");
    let back = put(PlaceKind::List, &retry, "seven");
    for there in [true, false] {
        let moved = host
            .broker
            .take_out(PlaceKind::List, letters, &position, 0, Some(&back))
            .await;
        assert_eq!(moved.unwrap(), there);
    }
    assert_eq!(count(&cluster, "LLEN", letters).await, 0);
    let taken = host.take(1).await;
    assert_eq!(taken[0].message().id, "seven");
    assert_eq!(cluster.owner(&retry).await, cluster.owner(jobs).await);
    host.accept(taken).await;
    let items = format!("wharf:queue:{{{jobs}}}:{retry}:items");
    assert_eq!(count(&cluster, "HLEN", &items).await, 0);
}

#[tokio::test]
async fn a_channel_is_heard_from_every_node() {
    let cluster = RedisCluster::start().await;
    let mut hosts = [
        reader(&cluster, PlaceKind::Channel, "news").await,
        reader(&cluster, PlaceKind::Pattern, "n?ws").await,
    ];
    for host in &hosts {
        until("it listens", || async {
            host.broker.health() == Health::Ready
        })
        .await;
    }
    for (said, place) in apart(&cluster).await.into_iter().enumerate() {
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg("news").arg(said);
        let mut client = cluster.client(&place).await;
        let _heard: i64 = cmd.query_async(&mut client).await.expect("said");
    }
    let own = put(PlaceKind::Channel, "news", "own");
    let sent = hosts[0].broker.publisher().publish(&[&own]).await;
    assert_eq!(sent, [Ok(())]);
    for host in &mut hosts {
        let taken = host.take(4).await;
        let wanted = numbers(0..3).into_iter().chain(["x".to_owned()]).collect();
        assert_eq!(payloads(&taken), wanted);
        host.accept(taken).await;
    }
}
