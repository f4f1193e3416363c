//! A cluster: keys in one slot, slots that move, and a node that dies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use wharf::broker::redis::{Options, retry_stream_in_cluster};
use wharf::commit::Destination;
use wharf::place::PlaceKind;
use wharf::ports::{Broker, Committed, Health, SubscriptionSpec};
use wharf_tests::redis_cluster::RedisCluster;

use crate::faults::{quick, settle_stubbornly, work_until};
use crate::support::*;

pub(crate) fn options_of(cluster: &RedisCluster) -> Options {
    // One that answers is enough.
    let seeds = [
        "redis://127.0.0.1:1".to_owned(),
        format!("redis://{}", cluster.addresses()[0]),
    ];
    let mut options = quick(&seeds.join(","));
    options.access.cluster = true;
    options
}

fn reading(stream: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        address: stream.into(),
        ..spec()
    }
}

pub(crate) async fn put(cluster: &RedisCluster, stream: &str, numbers: std::ops::Range<u32>) {
    let mut pipe = redis::pipe();
    for n in numbers {
        pipe.cmd("XADD").arg(stream).arg("*").arg("payload").arg(n);
    }
    let _ids: Vec<String> = pipe
        .query_async(&mut cluster.client(stream).await)
        .await
        .expect("added");
}

async fn in_hand(cluster: &RedisCluster, stream: &str) -> i64 {
    let mut cmd = redis::cmd("XPENDING");
    cmd.arg(stream).arg(GROUP);
    match cmd.query_async(&mut cluster.client(stream).await).await {
        Ok(Value::Array(summary)) => match summary.first() {
            Some(Value::Int(count)) => *count,
            other => panic!("not a count: {other:?}"),
        },
        other => panic!("not a summary: {other:?}"),
    }
}

/// Takes and accepts until nothing is pending.
pub(crate) async fn finished(host: &mut Host, cluster: &RedisCluster, stream: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while in_hand(cluster, stream).await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "pending for ever");
        let taken = host.take_within(Duration::from_millis(50)).await;
        settle_stubbornly(host, taken).await;
    }
}

/// Streams that are in the slots of three masters.
pub(crate) async fn apart(cluster: &RedisCluster) -> Vec<String> {
    let mut streams: Vec<(u16, String)> = Vec::new();
    for n in 0.. {
        let name = format!("orders-{n}");
        let owner = cluster.owner(&name).await.expect("an owner");
        if streams.iter().all(|(port, _)| *port != owner) {
            streams.push((owner, name));
        }
        if streams.len() == 3 {
            break;
        }
    }
    streams.into_iter().map(|(_, name)| name).collect()
}

#[tokio::test]
async fn streams_of_all_nodes_are_read_and_written() {
    let cluster = RedisCluster::start().await;
    let streams = apart(&cluster).await;
    let mut hosts = Vec::new();
    for stream in &streams {
        put(&cluster, stream, 0..50).await;
        let mut host = host_with(options_of(&cluster), reading(stream)).await;
        let taken = host.take(50).await;
        // One beside the stream, and one at each of the others.
        let beside = format!("{{{stream}}}.out");
        let outputs = |_: &_| {
            let mut outputs: Vec<_> = streams
                .iter()
                .map(|s| to(&format!("out-{{{s}}}"), "x"))
                .collect();
            outputs.push(to(&beside, "y"));
            outputs
        };
        let results = host.commit(taken, outputs).await;
        assert!(results.iter().all(|r| *r == Committed::Done), "{results:?}");
        assert_eq!(in_hand(&cluster, stream).await, 0);
        assert_eq!(host.broker.len(&beside).await.unwrap(), 50);
        assert_eq!(host.broker.lag(&reading(stream)).await.unwrap().waiting, 0);
        hosts.push(host);
    }
    let host = &hosts[0];
    let batch: Vec<_> = (0..300)
        .map(|n| to(&streams[n % 3], n.to_string()))
        .collect();
    let batch: Vec<_> = batch.iter().collect();
    let sent = host.broker.publisher().publish(&batch).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    for (at, stream) in streams.iter().enumerate() {
        assert_eq!(
            host.broker.len(&format!("out-{{{stream}}}")).await.unwrap(),
            150
        );
        let newest = host
            .broker
            .newest(stream, &spec().payload, 100)
            .await
            .unwrap();
        let got: Vec<_> = newest.iter().map(|m| m.payload.clone()).collect();
        let wanted: Vec<_> = (0..300)
            .filter(|n| n % 3 == at)
            .map(|n| n.to_string())
            .collect();
        assert_eq!(got, wanted, "in order");
    }
    let all = host.broker.streams("o*").await.unwrap();
    assert_eq!(all.len(), 6, "{all:?}");
    assert_eq!(host.broker.health(), Health::Ready);
}

#[tokio::test]
async fn only_what_is_in_one_slot_is_one_step() {
    let cluster = RedisCluster::start().await;
    let host = host_with(options_of(&cluster), reading("{shop}.orders")).await;
    let destination = |address: &str| Destination::new("out", "events", PlaceKind::Stream, address);
    assert!(host.settler.atomic_with(&destination("{shop}.bills")));
    assert!(host.settler.atomic_with(&destination("shop")));
    assert!(!host.settler.atomic_with(&destination("bills")));
    let unusable = host
        .broker
        .subscribe(reading("or}ders"), wharf::delivery::Inbox::new());
    assert!(unusable.await.is_err(), "its keys would be elsewhere");
}

#[tokio::test]
async fn a_dead_letter_comes_back_from_another_slot() {
    let cluster = RedisCluster::start().await;
    let mut host = host_with(options_of(&cluster), reading("orders")).await;
    let sent = host
        .broker
        .publisher()
        .publish(&[&to("dlq.orders", "7")])
        .await;
    assert_eq!(sent, [Ok(())]);
    let letters = host
        .broker
        .browse("dlq.orders", &spec().payload, None, 10)
        .await
        .unwrap();
    let retry = retry_stream_in_cluster("orders", "orders-in", "biller");
    assert_ne!(cluster.owner("dlq.orders").await, None);
    assert_eq!(cluster.owner(&retry).await, cluster.owner("orders").await);
    let position = letters[0].origin.position.to_string();
    let moved = host
        .broker
        .redrive("dlq.orders", &position, &to(&retry, "7"))
        .await
        .unwrap();
    assert!(moved);
    assert_eq!(host.broker.len("dlq.orders").await.unwrap(), 0);
    let again = host
        .broker
        .redrive("dlq.orders", &position, &to(&retry, "7"))
        .await
        .unwrap();
    assert!(!again, "it is gone");
    let taken = host.take(1).await;
    assert_eq!(payloads(&taken), BTreeSet::from(["7".to_owned()]));
    host.accept(taken).await;
    assert_eq!(host.broker.len(&retry).await.unwrap(), 0);
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = RedisCluster::start().await;
    let mut host = host_with(options_of(&cluster), reading(STREAM)).await;
    put(&cluster, STREAM, 0..50).await;
    let taken = host.take(50).await;
    let from = cluster.owner(STREAM).await.unwrap();
    let to_port = cluster
        .masters()
        .await
        .into_iter()
        .find(|port| *port != from)
        .unwrap();
    let broker = Arc::clone(&host.broker);
    cluster
        .migrate(STREAM, to_port, async {
            // All keys are there, and the slot is still here: every command is sent on.
            let sent = broker
                .publisher()
                .publish(&[&to(STREAM, "on its way")])
                .await;
            assert_eq!(sent, [Ok(())]);
            assert_eq!(broker.len(STREAM).await.unwrap(), 51);
        })
        .await;
    assert_eq!(cluster.owner(STREAM).await, Some(to_port));
    let sent = host
        .broker
        .publisher()
        .publish(&[&to(STREAM, "there")])
        .await;
    assert_eq!(sent, [Ok(())]);
    settle_stubbornly(&mut host, taken).await;
    let wanted = ["on its way", "there"].map(str::to_owned);
    work_until(&mut host, &BTreeSet::from(wanted)).await;
    finished(&mut host, &cluster, STREAM).await;
}

#[tokio::test]
async fn a_node_that_is_killed_is_replaced_and_the_host_goes_on() {
    let mut cluster = RedisCluster::start().await;
    put(&cluster, STREAM, 0..200).await;
    let mut host = host_with(options_of(&cluster), reading(STREAM)).await;
    work_until(&mut host, &numbers(0..200)).await;
    put(&cluster, STREAM, 200..300).await;
    let taken = host.take(50).await;
    let mut wait = redis::cmd("WAIT");
    wait.arg(1).arg(15_000);
    let mut writer = cluster.client(STREAM).await;
    let mut pipe = redis::pipe();
    pipe.cmd("XLEN").arg(STREAM).add_command(wait);
    let answers: Vec<Value> = pipe.query_async(&mut writer).await.unwrap();
    assert!(matches!(answers[1], Value::Int(1..)), "{answers:?}");
    let dead = cluster.owner(STREAM).await.unwrap();
    cluster.kill(dead);
    until("it is noticed", || async {
        matches!(host.broker.health(), Health::Waiting(_))
    })
    .await;
    // What belongs to others is written meanwhile.
    let elsewhere = {
        let mut found = None;
        for n in 0..100 {
            let name = format!("elsewhere-{n}");
            if cluster.owner(&name).await.is_some_and(|port| port != dead) {
                found = Some(name);
                break;
            }
        }
        found.expect("a key of another node")
    };
    let both = [to(&elsewhere, "x"), to(STREAM, "y")];
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let sent = host.broker.publisher().publish(&[&both[0], &both[1]]).await;
    assert_eq!(sent[0], Ok(()), "the others go on");
    until("a replica is promoted", || async {
        cluster.owner(STREAM).await.is_some_and(|port| port != dead)
    })
    .await;
    while host.broker.publisher().publish(&[&both[1]]).await[0].is_err() {
        assert!(tokio::time::Instant::now() < deadline, "never again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(taken);
    work_until(&mut host, &BTreeSet::from(["y".to_owned()])).await;
    finished(&mut host, &cluster, STREAM).await;
    until("it is well", || async {
        host.broker.health() == Health::Ready
    })
    .await;
}
