//! Encrypted connections to servers that are found by others: the nodes of a cluster, and whoever sentinels say is the master.

use wharf::broker::redis::Options;
use wharf::config::Secret;
use wharf::config::redis::Tls;
use wharf::ports::{Broker, Committed, Health, SubscriptionSpec};
use wharf_tests::certificates::Certificates;
use wharf_tests::ports::free_port;
use wharf_tests::redis_cluster::RedisCluster;
use wharf_tests::redis_sentinel::Sentinels;
use wharf_tests::redis_server::RedisServer;

use crate::cluster::{apart, finished, put};
use crate::faults::{drained, quick, work_until};
use crate::support::*;

/// Nodes and sentinels tell addresses, not names.
fn certificates() -> Certificates {
    Certificates::new("127.0.0.1", &["server", "client"])
}

fn secured(url: &str, certificates: &Certificates) -> Options {
    let mut options = quick(url);
    options.access.tls = Tls {
        ca: Some(certificates.path("ca.pem")),
        certificate: Some(certificates.path("client.pem")),
        key: Some(certificates.path("client.key")),
    };
    options
}

async fn well(host: &Host) {
    until("it is well", || async {
        host.broker.health() == Health::Ready
    })
    .await;
}

#[tokio::test]
async fn a_cluster_is_read_and_written_and_a_dead_node_left() {
    let certificates = certificates();
    let mut cluster = RedisCluster::start_secured(&certificates).await;
    let seed = format!("rediss://{}", cluster.secured_addresses()[0]);
    let mut options = secured(&seed, &certificates);
    options.access.cluster = true;
    let streams = apart(&cluster).await;
    for stream in &streams {
        put(&cluster, stream, 0..50).await;
        let reading = SubscriptionSpec {
            address: stream.as_str().into(),
            ..spec()
        };
        let mut host = host_with(options.clone(), reading).await;
        let taken = host.take(50).await;
        let outputs = |_: &_| {
            streams
                .iter()
                .map(|s| to(&format!("out-{{{s}}}"), "x"))
                .collect()
        };
        let results = host.commit(taken, outputs).await;
        assert!(results.iter().all(|r| *r == Committed::Done), "{results:?}");
        if stream == &streams[2] {
            let dead = cluster.owner(stream).await.expect("an owner");
            cluster.kill(dead);
            until("another has it", || async {
                cluster.owner(stream).await.is_some_and(|port| port != dead)
            })
            .await;
            put(&cluster, stream, 50..60).await;
            work_until(&mut host, &numbers(50..60)).await;
            finished(&mut host, &cluster, stream).await;
        }
        well(&host).await;
    }
}

#[tokio::test]
async fn a_master_is_found_by_sentinels_and_again_after_a_fail_over() {
    let certificates = certificates();
    let server = |more: &[String]| {
        let port = free_port();
        let tls = certificates.for_redis(port).into_iter();
        let mut options: Vec<String> = tls
            .flat_map(|(name, value)| [format!("--{name}"), value])
            .collect();
        options.extend_from_slice(more);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        (RedisServer::absent(&options), port)
    };
    let (mut master, port) = server(&[]);
    master.run().await;
    let of = ["--replicaof", "127.0.0.1", &port.to_string()].map(str::to_owned);
    let (mut replica, _) = server(&of);
    replica.run().await;
    let sentinels = Sentinels::start_secured(3, "db", port, "sesame", &certificates).await;

    let mut options = secured("rediss://nowhere.invalid/0", &certificates);
    let addresses = sentinels.secured_addresses().into_iter();
    options.access.sentinels = addresses.map(|at| format!("rediss://{at}")).collect();
    options.access.master = Some("db".into());
    options.access.sentinel_password = Some(Secret::new("sesame"));
    add(&master, STREAM, 0..100).await;
    let mut host = host_with(options, spec()).await;
    work_until(&mut host, &numbers(0..100)).await;
    drained(&mut host, &master).await;
    let waited = master.command("WAIT 1 15000").await;
    assert_eq!(waited, redis::Value::Int(1));
    master.kill();
    until("the replica is promoted", || async {
        sentinels.master().await.is_some_and(|found| found != port)
    })
    .await;
    add(&replica, STREAM, 100..200).await;
    work_until(&mut host, &numbers(100..200)).await;
    drained(&mut host, &replica).await;
    nothing_left(&replica).await;
    well(&host).await;
}
