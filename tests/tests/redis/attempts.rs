use std::time::Duration;

use tokio::time::Instant;
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

const DELAY: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_release_comes_back_with_its_attempts_at_its_time() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..2).await;
    let mut host = host(&server.url()).await;
    let mut taken = host.take(2).await;
    let now_again = taken.split_off(1);
    host.release(taken, Some(DELAY), 2).await;
    let released = Instant::now();
    host.release(now_again, None, 1).await;
    let first = host.take(1).await;
    assert_eq!(first[0].message().attempts, 1);
    assert_eq!(first[0].message().first_failed_ms, Some(FIRST_FAILED));
    assert!(
        released.elapsed() < DELAY,
        "the delay of one held the other"
    );
    let second = host.take(1).await;
    assert_eq!(second[0].message().attempts, 2);
    let took = released.elapsed();
    assert!(took >= DELAY - Duration::from_millis(20), "{took:?}");
    assert!(took < DELAY + Duration::from_millis(500), "{took:?}");
    host.accept(first).await;
    host.accept(second).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn attempts_and_delay_survive_a_restart_of_the_host() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..1).await;
    let mut before = host(&server.url()).await;
    let taken = before.take(1).await;
    before.release(taken, Some(DELAY), 3).await;
    let released = Instant::now();
    before.close().await;
    let mut after = host(&server.url()).await;
    let taken = after.take(1).await;
    assert!(released.elapsed() >= DELAY - Duration::from_millis(20));
    assert_eq!(taken[0].message().attempts, 3);
    after.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn attempts_and_delay_survive_a_crash_which_is_not_counted_against_the_parked() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..1).await;
    let url = server.url();
    let (told, hear) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(async move {
        let mut host = host(&url).await;
        let taken = host.take(1).await;
        host.release(taken, Some(DELAY), 2).await;
        told.send(Instant::now()).unwrap();
        std::future::pending::<()>().await;
    });
    let released = tokio::task::spawn_blocking(move || hear.recv().unwrap())
        .await
        .unwrap();
    runtime.shutdown_background();
    let mut after = host(&server.url()).await;
    let taken = after.take(1).await;
    assert!(released.elapsed() >= DELAY - Duration::from_millis(20));
    let message = taken[0].message();
    assert_eq!((message.attempts, message.deliveries), (2, 1));
    after.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn attempts_survive_a_restart_of_the_server() {
    let mut server = RedisServer::start_durable().await;
    add(&server, STREAM, 0..1).await;
    let mut host = host(&server.url()).await;
    let taken = host.take(1).await;
    host.release(taken, Some(DELAY), 2).await;
    server.restart().await;
    let taken = host.take(1).await;
    assert_eq!(taken[0].message().attempts, 2);
    host.accept(taken).await;
    nothing_left(&server).await;
}
