//! A server that takes nothing more: `maxmemory` is reached, and nothing may be evicted.

use wharf_tests::redis_server::RedisServer;

use crate::support::*;

/// Full from now on.
async fn fill(server: &RedisServer) {
    server
        .command("CONFIG SET maxmemory-policy noeviction")
        .await;
    server.command("CONFIG SET maxmemory 1").await;
    let refused = server.try_command("SET any thing").await.unwrap_err();
    assert_eq!(refused.code(), Some("OOM"), "{refused}");
}

async fn leases(server: &RedisServer) -> usize {
    match server.command("KEYS wharf:lease:*").await {
        redis::Value::Array(keys) => keys.len(),
        other => panic!("no keys: {other:?}"),
    }
}

#[tokio::test]
async fn a_full_server_takes_no_lease_away() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..5).await;
    let mut holder = host(&server.url()).await;
    let taken = holder.take(5).await;
    let mut other = host(&server.url()).await;
    until("both are there", || async { leases(&server).await == 2 }).await;
    fill(&server).await;
    // Several leases long: what is not renewed runs out, and the other one takes over.
    let stolen = other.take_within(LEASE * 4).await;
    assert!(stolen.is_empty(), "{:?}", payloads(&stolen));
    assert_eq!(leases(&server).await, 2);
    holder.accept(taken).await;
    server.command("CONFIG SET maxmemory 0").await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_host_that_died_is_taken_over_from_on_a_full_server() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..5).await;
    let dead = Doomed::holding(&server.url(), 5).await;
    let mut host = host(&server.url()).await;
    until("both are there", || async { leases(&server).await == 2 }).await;
    fill(&server).await;
    let held = dead.crash();
    let taken = host.take(5).await;
    assert_eq!(payloads(&taken), held);
    assert!(taken.iter().all(|d| d.message().deliveries == 2), "a crash");
    host.accept(taken).await;
    server.command("CONFIG SET maxmemory 0").await;
    nothing_left(&server).await;
}
