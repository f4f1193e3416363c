use std::collections::BTreeSet;
use std::time::Duration;

use wharf::ports::{Broker, Committed, Health, SettleError};
use wharf_tests::proxy::Proxy;
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

/// Takes and accepts until everything in `wanted` was seen. Returns how many came twice.
pub async fn work_until(host: &mut Host, wanted: &BTreeSet<String>) -> usize {
    let mut seen = BTreeSet::new();
    let mut repeats = 0;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !wanted.is_subset(&seen) {
        let left = wanted.difference(&seen).count();
        assert!(tokio::time::Instant::now() < deadline, "{left} never came");
        let taken = host.take_within(Duration::from_secs(1)).await;
        for delivery in &taken {
            let text = String::from_utf8_lossy(&delivery.message().payload).into_owned();
            repeats += usize::from(!seen.insert(text));
        }
        settle_stubbornly(host, taken).await;
    }
    repeats
}

/// As a committer does: what is not settled for want of a server is settled again.
pub async fn settle_stubbornly(host: &mut Host, deliveries: Vec<wharf::delivery::Delivery>) {
    drop(deliveries);
    let mut entries = Vec::new();
    host.inbox.try_take(&mut entries);
    let mut batch: Vec<wharf::ports::Settle> = entries
        .iter()
        .map(|entry| match entry {
            wharf::delivery::Entry::Dropped(parcel) => wharf::ports::Settle {
                token: parcel.token,
                settlement: wharf::commit::Settlement::Accept,
            },
            wharf::delivery::Entry::Commit(_) => panic!("nothing was committed"),
        })
        .collect();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !batch.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "never settled");
        let results = host.settler.settle(&batch).await;
        let kept: Vec<_> = batch
            .iter()
            .zip(results)
            .filter(|(_, r)| matches!(r, Err(SettleError::Unavailable(_))))
            .map(|(s, _)| *s)
            .collect();
        if !kept.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        batch = kept;
    }
}

/// What was read under a name that was lost since comes again: works until nothing is pending.
pub async fn drained(host: &mut Host, server: &RedisServer) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while pending(server, STREAM).await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "pending for ever");
        let taken = host.take_within(Duration::from_millis(50)).await;
        settle_stubbornly(host, taken).await;
    }
}

pub fn quick(url: &str) -> wharf::broker::redis::Options {
    wharf::broker::redis::Options {
        answer: Duration::from_millis(500),
        connect: Duration::from_millis(500),
        block: Duration::from_millis(200),
        backoff: (Duration::from_millis(10), Duration::from_millis(200)),
        ..options(url)
    }
}

#[tokio::test]
async fn a_server_that_is_absent_at_start_is_waited_for() {
    let mut server = RedisServer::absent(&[]);
    let mut host = host_with(quick(&server.url()), spec()).await;
    assert!(
        host.take_within(Duration::from_millis(300))
            .await
            .is_empty()
    );
    match host.broker.health() {
        Health::Waiting(why) => {
            assert!(why.contains("refused"), "{why}");
            assert!(why.contains("; check host and port in `url`"), "{why}");
        }
        Health::Ready => panic!("nobody is there"),
    }
    server.run().await;
    add(&server, STREAM, 0..5).await;
    let taken = host.take(5).await;
    until("health says so", || async {
        host.broker.health() == Health::Ready
    })
    .await;
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_server_restarted_under_load_loses_nothing() {
    let mut server = RedisServer::start_durable().await;
    add(&server, STREAM, 0..3000).await;
    let mut host = host_with(quick(&server.url()), spec()).await;
    work_until(&mut host, &numbers(0..1000)).await;
    server.kill();
    let waiting = host.take_within(Duration::from_millis(300)).await;
    server.run().await;
    settle_stubbornly(&mut host, waiting).await;
    add(&server, STREAM, 3000..3100).await;
    // What came while it was down has been settled above, so only the end is waited for.
    work_until(&mut host, &numbers(3000..3100)).await;
    drained(&mut host, &server).await;
    assert_eq!(host.broker.lag(&spec()).await.unwrap().waiting, 0);
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_connection_cut_again_and_again_loses_nothing() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let mut host = host_with(quick(&RedisServer::url_by(proxy.port())), spec()).await;
    let wanted = numbers(0..2000);
    let adding = async {
        for n in 0..20u32 {
            add(&server, STREAM, n * 100..(n + 1) * 100).await;
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::join!(adding, work_until(&mut host, &wanted));
    drained(&mut host, &server).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_read_whose_answer_was_lost_is_read_again() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let mut host = host_with(quick(&RedisServer::url_by(proxy.port())), spec()).await;
    // The host waits in a blocking read; then nothing gets through, and an entry is handed to that read.
    assert!(
        host.take_within(Duration::from_millis(100))
            .await
            .is_empty()
    );
    until("it reads", || async {
        match server.command("CLIENT LIST").await {
            redis::Value::BulkString(list) => {
                String::from_utf8_lossy(&list).contains("cmd=xreadgroup")
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
    proxy.black_hole();
    add(&server, STREAM, 0..1).await;
    until("it is pending", || async {
        pending(&server, STREAM).await == 1
    })
    .await;
    proxy.refuse();
    assert!(
        host.take_within(Duration::from_millis(300))
            .await
            .is_empty()
    );
    proxy.heal();
    let taken = host.take(1).await;
    assert_eq!(
        taken[0].message().deliveries,
        1,
        "a lost answer is no crash"
    );
    settle_stubbornly(&mut host, taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_black_hole_is_noticed_and_left() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let mut host = host_with(quick(&RedisServer::url_by(proxy.port())), spec()).await;
    add(&server, STREAM, 0..1).await;
    let taken = host.take(1).await;
    host.accept(taken).await;
    proxy.black_hole();
    assert!(
        host.take_within(Duration::from_millis(100))
            .await
            .is_empty()
    );
    until("health says so", || async {
        matches!(host.broker.health(), Health::Waiting(_))
    })
    .await;
    add(&server, STREAM, 1..2).await;
    proxy.heal();
    let taken = host.take(1).await;
    settle_stubbornly(&mut host, taken).await;
    until("health says so", || async {
        host.broker.health() == Health::Ready
    })
    .await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_carried_out_twice() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    add(&server, STREAM, 0..1).await;
    let mut host = host_with(quick(&RedisServer::url_by(proxy.port())), spec()).await;
    let taken = host.take(1).await;
    proxy.delay(Duration::from_millis(400));
    let mut results = Vec::new();
    for delivery in taken {
        delivery.commit(|parcel| wharf::commit::Commit {
            publications: vec![to("out", "x")],
            parcel,
            settlement: wharf::commit::Settlement::Accept,
            cause: None,
            version: "".into(),
            lane: None,
        });
    }
    let mut entries = Vec::new();
    host.inbox.try_take(&mut entries);
    let Some(wharf::delivery::Entry::Commit(commit)) = entries.pop() else {
        panic!("committed");
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        assert!(tokio::time::Instant::now() < deadline, "{results:?}");
        let result = host.settler.commit(&[&commit]).await.remove(0);
        let end = !matches!(result, Committed::NotSettled(SettleError::Unavailable(_)));
        results.push(result);
        if end {
            break;
        }
        proxy.heal();
    }
    // The first answer came too late; the second says that the entry is no longer pending.
    assert!(results.len() >= 2, "{results:?}");
    assert_eq!(server.command("XLEN out").await, redis::Value::Int(1));
    nothing_left(&server).await;
}

#[tokio::test]
async fn an_emptied_server_is_gone_on_with() {
    let server = RedisServer::start().await;
    let mut host = host_with(quick(&server.url()), spec()).await;
    add(&server, STREAM, 0..10).await;
    let taken = host.take(10).await;
    server.flush_all().await;
    let results = host.commit(taken, |_| vec![to("out", "x")]).await;
    assert!(
        results
            .iter()
            .all(|r| matches!(r, Committed::NotSettled(SettleError::Fenced(_)))),
        "{results:?}"
    );
    add(&server, STREAM, 10..20).await;
    work_until(&mut host, &numbers(10..20)).await;
    drained(&mut host, &server).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_gone_on_with() {
    let mut server = RedisServer::start().await;
    let mut host = host_with(quick(&server.url()), spec()).await;
    add(&server, STREAM, 0..10).await;
    let taken = host.take(10).await;
    server.restart().await;
    drop(taken);
    add(&server, STREAM, 10..20).await;
    work_until(&mut host, &numbers(10..20)).await;
    drained(&mut host, &server).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_deleted_stream_is_read_from_its_start_when_it_is_back() {
    let server = RedisServer::start().await;
    let mut later = spec();
    later.from_start = false;
    let mut host = host_with(quick(&server.url()), later).await;
    assert!(
        host.take_within(Duration::from_millis(100))
            .await
            .is_empty()
    );
    until("the group is there", || async {
        server
            .try_command(&format!("XINFO GROUPS {STREAM}"))
            .await
            .is_ok()
    })
    .await;
    // In one step, so that the messages are there before the group is made again.
    let mut pipe = redis::pipe();
    pipe.atomic().cmd("DEL").arg(STREAM);
    for n in 0..10 {
        pipe.cmd("XADD").arg(STREAM).arg("*").arg("payload").arg(n);
    }
    let _done: Vec<redis::Value> = pipe.query_async(&mut server.client().await).await.unwrap();
    work_until(&mut host, &numbers(0..10)).await;
    drained(&mut host, &server).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_replica_is_waited_out() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..1).await;
    let mut host = host_with(quick(&server.url()), spec()).await;
    let taken = host.take(1).await;
    let nowhere = wharf_tests::ports::free_port();
    server
        .command(&format!("REPLICAOF 127.0.0.1 {nowhere}"))
        .await;
    let results = host.settle(taken, wharf::commit::Settlement::Accept).await;
    assert!(
        matches!(results[0], Err(SettleError::Unavailable(_))),
        "{results:?}"
    );
    server.command("REPLICAOF NO ONE").await;
    add(&server, STREAM, 1..2).await;
    work_until(&mut host, &numbers(1..2)).await;
}
