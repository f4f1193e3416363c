//! Servers that sentinels watch: found by them, and found again after a fail-over.

use std::time::Duration;

use wharf::broker::redis::Options;
use wharf::config::Secret;
use wharf::ports::{Broker, Health, PublishError};
use wharf_tests::ports::free_port;
use wharf_tests::proxy::Proxy;
use wharf_tests::redis_sentinel::Sentinels;
use wharf_tests::redis_server::RedisServer;

use crate::faults::{drained, quick, work_until};
use crate::support::*;

const MASTER: &str = "orders-db";

/// A master, its replica, and three sentinels.
struct Watched {
    master: RedisServer,
    replica: RedisServer,
    sentinels: Sentinels,
}

impl Watched {
    async fn start() -> Self {
        let master = RedisServer::start().await;
        let replica = replica_of(&master).await;
        let sentinels = Sentinels::start(3, MASTER, master.port(), "sesame").await;
        Self {
            master,
            replica,
            sentinels,
        }
    }

    fn options(&self) -> Options {
        // The host in the URL is not used: nobody could be reached by it.
        let mut options = quick("redis://nowhere.invalid/0");
        let addresses = self.sentinels.addresses().into_iter();
        options.access.sentinels = addresses.map(|at| format!("redis://{at}")).collect();
        options.access.master = Some(MASTER.into());
        options.access.sentinel_password = Some(Secret::new("sesame"));
        options
    }

    /// Waits until the replica is the master.
    async fn promoted(&self) {
        until("the replica is promoted", || async {
            self.sentinels.master().await == Some(self.replica.port())
                && is_master(&self.replica).await
        })
        .await;
    }
}

async fn replica_of(master: &RedisServer) -> RedisServer {
    let port = master.port().to_string();
    let mut replica = RedisServer::absent(&["--replicaof", "127.0.0.1", &port]);
    replica.run().await;
    replica
}

async fn is_master(server: &RedisServer) -> bool {
    matches!(server.command("ROLE").await, redis::Value::Array(role)
        if role[0] == redis::Value::BulkString(b"master".to_vec()))
}

/// What was written so far is at the replica: what a fail-over takes before is lost for good.
async fn replicated(master: &RedisServer) {
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg("mark").arg("x");
    pipe.cmd("WAIT").arg(1).arg(15_000);
    let answers: Vec<redis::Value> = pipe.query_async(&mut master.client().await).await.unwrap();
    assert_eq!(answers[1], redis::Value::Int(1), "not replicated");
}

#[tokio::test]
async fn a_killed_master_is_replaced_and_the_host_goes_on() {
    let mut watched = Watched::start().await;
    add(&watched.master, STREAM, 0..200).await;
    let mut host = host_with(watched.options(), spec()).await;
    work_until(&mut host, &numbers(0..200)).await;
    // Some are in hand when it dies.
    add(&watched.master, STREAM, 200..300).await;
    let in_hand = host.take(50).await;
    replicated(&watched.master).await;
    watched.master.kill();
    until("it is noticed", || async {
        matches!(host.broker.health(), Health::Waiting(_))
    })
    .await;
    watched.promoted().await;
    drop(in_hand);
    add(&watched.replica, STREAM, 300..400).await;
    work_until(&mut host, &numbers(300..400)).await;
    drained(&mut host, &watched.replica).await;
    nothing_left(&watched.replica).await;
    assert_eq!(host.broker.lag(&spec()).await.unwrap().waiting, 0);
    until("it is well", || async {
        host.broker.health() == Health::Ready
    })
    .await;
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left() {
    let watched = Watched::start().await;
    add(&watched.master, STREAM, 0..100).await;
    let mut host = host_with(watched.options(), spec()).await;
    work_until(&mut host, &numbers(0..100)).await;
    replicated(&watched.master).await;
    watched.sentinels.fail_over().await;
    watched.promoted().await;
    add(&watched.replica, STREAM, 100..200).await;
    work_until(&mut host, &numbers(100..200)).await;
    let sent = host.broker.publisher().publish(&[&to("out", "x")]).await;
    assert_eq!(sent, [Ok(())]);
    drained(&mut host, &watched.replica).await;
    assert!(!is_master(&watched.master).await);
}

/// Nobody cuts its connections: whoever changes masters without sentinels gives the name to the other one.
#[tokio::test]
async fn an_old_master_is_left_though_nobody_cuts_the_connections() {
    for outputs in [0, 1] {
        let old = RedisServer::start().await;
        let new = replica_of(&old).await;
        let name = Proxy::start(old.port()).await;
        add(&old, STREAM, 0..50).await;
        let url = format!("redis://127.0.0.1:{}", name.port());
        let mut host = host_with(quick(&url), spec()).await;
        let taken = host.take(50).await;
        replicated(&old).await;
        name.lead(new.port());
        let _ok = new.command("REPLICAOF NO ONE").await;
        let _ok = old
            .command(&format!("REPLICAOF 127.0.0.1 {}", new.port()))
            .await;
        host.commit_at_last(taken, |parcel| {
            let payload = parcel.message.payload.clone();
            std::iter::repeat_n(to("out", payload), outputs).collect()
        })
        .await;
        assert_eq!(pending(&new, STREAM).await, 0);
        let published = host.broker.len("out").await.unwrap();
        assert_eq!(published, 50 * outputs as u64);
    }
}

#[tokio::test]
async fn what_the_sentinels_do_not_say_is_said() {
    let watched = Watched::start().await;
    let said = async |options: Options, words: &str| {
        let host = host_with(options, spec()).await;
        until(words, || async {
            matches!(host.broker.health(), Health::Waiting(said) if said.contains(words))
        })
        .await;
    };
    let mut unknown = watched.options();
    unknown.access.master = Some("other".into());
    said(unknown, "the sentinels know no server of this name").await;
    let mut stranger = watched.options();
    stranger.access.sentinel_password = Some(Secret::new("open"));
    said(stranger, "WRONGPASS").await;
    // One that is there is enough.
    let mut partly = watched.options();
    let absent = format!("redis://127.0.0.1:{}", free_port());
    partly.access.sentinels = vec![absent.clone(), partly.access.sentinels[0].clone()];
    let host = host_with(partly, spec()).await;
    until("ready", || async { host.broker.health() == Health::Ready }).await;
    let mut nobody = watched.options();
    nobody.access.sentinels = vec![absent];
    said(nobody, "Connection refused").await;
}

#[tokio::test]
async fn outputs_wait_for_replicas_where_that_is_wanted() {
    let master = RedisServer::start().await;
    let mut options = quick(&master.url());
    options.access.wait_replicas = Some(1);
    let host = host_with(options, spec()).await;
    let publisher = host.broker.publisher();
    let publication = to("out", "x");
    let sent = publisher.publish(&[&publication]).await;
    match &sent[0] {
        Err(PublishError::Destination(said)) => {
            assert!(said.contains("0 of 1 replicas have it"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    let _replica = replica_of(&master).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while publisher.publish(&[&publication]).await[0].is_err() {
        assert!(tokio::time::Instant::now() < deadline, "never confirmed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
