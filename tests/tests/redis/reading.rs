use std::time::Duration;

use redis::Value;
use wharf::ports::{Broker, BrokerError, Health, Lag};
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

#[tokio::test]
async fn a_group_is_read_to_its_end() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..250).await;
    let mut host = host(&server.url()).await;
    let taken = host.take(250).await;
    assert_eq!(payloads(&taken), numbers(0..250));
    assert!(taken.iter().all(|d| d.message().deliveries == 1));
    host.accept(taken).await;
    nothing_left(&server).await;
    assert_eq!(host.broker.lag(&spec()).await.unwrap(), Lag::default());
    host.close().await;
}

#[tokio::test]
async fn two_hosts_share_a_group() {
    let server = RedisServer::start().await;
    let mut a = host(&server.url()).await;
    let mut b = host(&server.url()).await;
    add(&server, STREAM, 0..10).await;
    let from_a = a.take(5).await;
    let from_b = b.take(5).await;
    let mut all = payloads(&from_a);
    all.extend(payloads(&from_b));
    assert_eq!(all, numbers(0..10));
    a.accept(from_a).await;
    b.accept(from_b).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_cancelled_fetch_loses_nothing() {
    let server = RedisServer::start().await;
    let mut host = host(&server.url()).await;
    let mut taken = Vec::new();
    for n in 0..20 {
        // Cancelled while it waits, with the read under way; then the message comes.
        taken.extend(host.take_within(Duration::from_millis(5)).await);
        add(&server, STREAM, n..n + 1).await;
    }
    taken.extend(host.take(20 - taken.len()).await);
    assert_eq!(payloads(&taken), numbers(0..20));
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn no_more_is_handed_over_than_there_is_room() {
    let server = RedisServer::start().await;
    let big = "x".repeat(1000);
    for _ in 0..10 {
        server
            .command(&format!("XADD {STREAM} * payload {big}"))
            .await;
    }
    let mut host = host(&server.url()).await;
    let narrow = wharf::ports::Room {
        messages: 10,
        bytes: 4000,
    };
    let first = host.source.fetch(narrow).await.unwrap();
    assert!((1..=3).contains(&first.len()), "{}", first.len());
    let tiny = wharf::ports::Room {
        messages: 10,
        bytes: 1,
    };
    let one = host.source.fetch(tiny).await.unwrap();
    assert_eq!(one.len(), 1, "a large one gets through");
    let rest = host.take(9 - first.len()).await;
    host.accept(first).await;
    host.accept(one).await;
    host.accept(rest).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn large_messages_are_read_a_few_at_a_time() {
    let server = RedisServer::start().await;
    let mut client = server.client().await;
    let mut pipe = redis::pipe();
    for _ in 0..100 {
        pipe.cmd("XADD")
            .arg(STREAM)
            .arg("*")
            .arg("payload")
            .arg(vec![b'x'; 1 << 20]);
    }
    let _ids: Vec<String> = pipe.query_async(&mut client).await.unwrap();
    let mut host = host(&server.url()).await;
    let narrow = wharf::ports::Room {
        messages: 100,
        bytes: 4 << 20,
    };
    let mut taken = Vec::new();
    while taken.len() < 100 {
        taken.extend(host.source.fetch(narrow).await.unwrap());
        let ahead = pending(&server, STREAM).await - i64::try_from(taken.len()).unwrap();
        assert!(ahead <= 8, "{ahead} read ahead of what there is room for");
    }
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_user_who_may_not_claim_reads_nothing_and_health_says_why() {
    let server = RedisServer::start().await;
    server
        .command("ACL SETUSER narrow on >pw ~* &* +@all -evalsha")
        .await;
    add(&server, STREAM, 0..1).await;
    let url = format!("redis://narrow:pw@127.0.0.1:{}", server.port());
    let mut host = host(&url).await;
    assert!(
        host.take_within(Duration::from_millis(300))
            .await
            .is_empty()
    );
    match host.broker.health() {
        Health::Waiting(why) => assert!(why.contains("evalsha"), "{why}"),
        Health::Ready => panic!("it cannot work"),
    }
}

#[tokio::test]
async fn a_new_group_starts_at_the_end_unless_told_otherwise() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..5).await;
    let mut later = spec();
    later.from_start = false;
    let mut host = host_with(options(&server.url()), later).await;
    let nothing = host.take_within(Duration::from_millis(300)).await;
    assert!(nothing.is_empty());
    add(&server, STREAM, 5..6).await;
    let taken = host.take(1).await;
    assert_eq!(payloads(&taken), numbers(5..6));
    host.accept(taken).await;
}

#[tokio::test]
async fn lag_is_known_also_after_a_deletion_in_the_middle() {
    let server = RedisServer::start().await;
    let mut host = host(&server.url()).await;
    add(&server, STREAM, 0..10).await;
    let taken = host.take(2).await;
    let ids: Vec<String> = host
        .broker
        .browse(STREAM, &spec().payload, None, 100)
        .await
        .unwrap()
        .iter()
        .map(|m| m.origin.position.to_string())
        .collect();
    assert_eq!(host.broker.delete(STREAM, &ids[5..6]).await.unwrap(), 1);
    let lag = host.broker.lag(&spec()).await.unwrap();
    assert_eq!(
        lag,
        Lag {
            waiting: 7,
            pending: 2
        }
    );
    host.accept(taken).await;
}

#[tokio::test]
async fn a_key_of_another_type_is_refused_in_the_servers_words() {
    let server = RedisServer::start().await;
    server.command(&format!("SET {STREAM} text")).await;
    let mut host = host(&server.url()).await;
    match host.source.fetch(room(1)).await {
        Err(BrokerError::Refused(said)) => {
            assert!(said.contains("WRONGTYPE"), "{said}");
            assert!(said.contains("; something of another type"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    // Somebody repairs it, and reading goes on.
    server.command(&format!("DEL {STREAM}")).await;
    add(&server, STREAM, 0..1).await;
    let taken = loop {
        match host.source.fetch(room(1)).await {
            Ok(taken) => break taken,
            Err(BrokerError::Refused(_)) => {}
            Err(e) => panic!("{e}"),
        }
    };
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_the_servers_words() {
    let mut server = RedisServer::absent(&["--requirepass", "secret"]);
    server.run().await;
    let url = format!("redis://:wrong@127.0.0.1:{}", server.port());
    let mut host = host(&url).await;
    match host.source.fetch(room(1)).await {
        Err(BrokerError::Refused(said)) => {
            assert!(
                said.contains("WRONGPASS") || said.contains("invalid username-password"),
                "{said}"
            );
            assert!(said.contains("; check `user` and `password`"), "{said}");
            assert!(
                !said.contains("wrong@"),
                "no credentials in messages: {said}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(host.broker.health(), Health::Waiting(_)));
}

#[tokio::test]
async fn redriven_messages_are_read_from_the_retry_stream() {
    let server = RedisServer::start().await;
    let mut host = host(&server.url()).await;
    add(&server, "dlq", 0..3).await;
    let dead = host
        .broker
        .browse("dlq", &spec().payload, None, 10)
        .await
        .unwrap();
    let retry = wharf::broker::redis::retry_stream("orders-in", "biller");
    for message in &dead {
        let again = to(&retry, message.payload.clone());
        let id = &message.origin.position;
        assert!(host.broker.redrive("dlq", id, &again).await.unwrap());
        assert!(
            !host.broker.redrive("dlq", id, &again).await.unwrap(),
            "moved once"
        );
    }
    assert_eq!(host.broker.len("dlq").await.unwrap(), 0);
    let taken = host.take(3).await;
    assert_eq!(payloads(&taken), numbers(0..3));
    assert_eq!(&*taken[0].message().origin.source, &*retry);
    host.accept(taken).await;
    assert_eq!(pending(&server, &retry).await, 0);
    assert_eq!(
        host.broker.streams("retry.*").await.unwrap(),
        std::slice::from_ref(&retry)
    );
    // Nobody else reads it, so nothing is left there.
    assert_eq!(
        server.command(&format!("XLEN {retry}")).await,
        Value::Int(0)
    );
    add(&server, "dlq", 3..5).await;
    assert_eq!(host.broker.purge("dlq").await.unwrap(), 2);
    assert_eq!(server.command("XLEN dlq").await, Value::Int(0));
}

#[tokio::test]
async fn a_stream_can_be_followed() {
    let server = RedisServer::start().await;
    let host = host(&server.url()).await;
    add(&server, "log", 0..2).await;
    let end = host.broker.end("log").await.unwrap();
    let mut tail = host.broker.tail("log", spec().payload, end);
    add(&server, "log", 2..4).await;
    let wait = Duration::from_secs(1);
    let got = host.broker.follow(&mut tail, wait, 10).await.unwrap();
    assert_eq!(got.len(), 2);
    let none = host
        .broker
        .follow(&mut tail, Duration::from_millis(1), 10)
        .await
        .unwrap();
    assert!(none.is_empty());
}
