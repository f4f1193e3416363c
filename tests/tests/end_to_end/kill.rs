//! `kill -9` at moments nobody chose, counting every message; and a host that comes back under another name.

use std::time::Duration;

use futures_util::future::join;
use redis::Value;
use redis::streams::StreamInfoConsumersReply;
use serde_json::json;
use tokio::time::sleep;
use wharf_tests::host::{Host, Place, eventually};
use wharf_tests::redis_server::RedisServer;

use super::client::{Client, LETTERS, PATIENCE, message, puppet};
use super::count::{Fate, Work};

const MESSAGES: usize = 3_000;
const KILLS: usize = 6;
/// Most messages that are published and have not ended, so that publishing goes on through every kill.
const AHEAD: u64 = 400;
const RETRY: &str = "    retry: { max_retries: 2, initial_interval: 20ms, max_interval: 50ms }\n";

fn redis(url: &str, name: &str) -> String {
    format!(
        "brokers: {{ events: {{ type: redis, url: \"{url}\", lease: 500ms, name: {name} }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: events, stream: in }} }}\n    \
         publish: {{ out: {{ broker: events, stream: out }} }}\n{RETRY}"
    )
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

async fn ended(client: &Client) -> u64 {
    client.count("out").await + client.count(LETTERS).await
}

async fn publish(client: &Client, work: &Work) {
    let mut published = 0;
    for chunk in work.messages.chunks(25) {
        client.publish("in", chunk.to_vec()).await;
        published += chunk.len() as u64;
        eventually("what was published ends", PATIENCE, async || {
            (ended(client).await + AHEAD > published).then_some(())
        })
        .await;
    }
}

/// Kills host after host: each in its work, once so much of it is done, and one more while it starts.
async fn kill_and_restart(place: &Place, client: &Client, mut random: fastrand::Rng) -> Host {
    let (low, high) = (MESSAGES as u64 / 20, MESSAGES as u64 * 17 / 20);
    let mut marks: Vec<u64> = (0..KILLS).map(|_| random.u64(low..high)).collect();
    marks.sort_unstable();
    for mark in marks {
        let host = place.spawn();
        eventually("the host works", PATIENCE, async || {
            (ended(client).await >= mark).then_some(())
        })
        .await;
        // Nothing is waited for here: the moment is to be any.
        sleep(Duration::from_micros(random.u64(0..20_000))).await;
        host.kill();
        let starting = place.spawn();
        sleep(Duration::from_micros(random.u64(0..150_000))).await;
        starting.kill();
    }
    place.run().await
}

async fn counted_through_kills(place: &Place, client: &Client) {
    place.put("puppet", "puppet.wasm");
    let work = Work::mixed(MESSAGES);
    let killing = kill_and_restart(place, client, random());
    let ((), host) = join(publish(client, &work), killing).await;
    client.until_done("in", "p").await;
    // Outputs and settlement are one step on both brokers, so not even a kill repeats one.
    work.check(&client.items("out").await, &client.items(LETTERS).await);
    assert_eq!(host.metric("wharf_in_flight", &[]).await, Some(0.0));
}

#[tokio::test]
async fn kill_nine_at_any_moment_loses_nothing_embedded() {
    let place = Place::new();
    place.configure(&puppet(RETRY));
    let client = Client::embedded(&place.path("wharf.db"));
    counted_through_kills(&place, &client).await;
}

#[tokio::test]
async fn kill_nine_at_any_moment_loses_nothing_redis() {
    let server = RedisServer::start().await;
    let place = Place::new();
    place.configure(&redis(&server.url(), "host-a"));
    let client = Client::Redis(server.client().await);
    counted_through_kills(&place, &client).await;
    let pending = server.command("XPENDING in p").await;
    assert!(
        matches!(&pending, Value::Array(summary) if summary.first() == Some(&Value::Int(0))),
        "{pending:?}"
    );
}

/// The consumers that have something in hand, and how much.
async fn owners(server: &RedisServer) -> Vec<(String, usize)> {
    let mut connection = server.client().await;
    let mut info = redis::cmd("XINFO");
    info.arg("CONSUMERS").arg("in").arg("p");
    let reply: Result<StreamInfoConsumersReply, _> = info.query_async(&mut connection).await;
    let consumers = reply.map(|r| r.consumers).unwrap_or_default();
    let busy = consumers.into_iter().filter(|c| c.pending > 0);
    busy.map(|c| (c.name, c.pending)).collect()
}

#[tokio::test]
async fn nothing_is_stranded_when_the_host_comes_back_under_another_name() {
    let server = RedisServer::start().await;
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let client = Client::Redis(server.client().await);
    let mut work = Work::default();
    // Twenty that keep both sandboxes for a while, and many behind them: all are in hand when the host dies.
    for i in 0..20 {
        let order = json!({"do": "sleep", "ms": 500}).to_string();
        work.add(message(format!("slow-{i}"), order), Fate::Nothing);
    }
    for i in 0..180 {
        work.add(
            message(format!("m-{i}"), format!("message {i}")),
            Fate::Output,
        );
    }
    client.publish("in", work.messages.clone()).await;

    place.configure(&redis(&server.url(), "alpha"));
    let alpha = place.run().await;
    let holding = eventually("alpha has them all", PATIENCE, async || {
        let owners = owners(&server).await;
        (owners.iter().map(|(_, pending)| pending).sum::<usize>() == 200).then_some(owners)
    })
    .await;
    assert!(
        holding.iter().all(|(name, _)| name.contains("alpha")),
        "{holding:?}"
    );
    alpha.kill();
    assert!(
        !owners(&server).await.is_empty(),
        "it died with messages in hand"
    );

    place.configure(&redis(&server.url(), "beta"));
    let _beta = place.run().await;
    client.until_done("in", "p").await;
    assert_eq!(owners(&server).await, Vec::new());
    work.check(&client.items("out").await, &client.items(LETTERS).await);
}
