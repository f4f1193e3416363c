//! Users of the server, and rights that are missing.

use std::time::Duration;

use wharf::broker::redis::Options;
use wharf::commit::Settlement;
use wharf::config::Secret;
use wharf::ports::{Broker, BrokerError, Committed, Health, PublishError, SettleError};
use wharf_tests::redis_server::RedisServer;
use wharf_tests::source::room;

use crate::support::*;

/// What docs/operations.md says a user needs.
const RIGHTS: &str = "~orders ~out ~retry.* ~dlq.* ~wharf:* +@read +@connection +xadd +xgroup +xreadgroup +xack +xclaim +xdel \
                      +xtrim +hset +hdel +set +pexpire +del +time +wait +eval +evalsha +config|get";

/// A server with a user that has these rights.
async fn server(rights: &str) -> RedisServer {
    let server = RedisServer::start().await;
    let made = format!("ACL SETUSER wharf on >sesame {rights}");
    server.command(&made).await;
    server
}

fn user(server: &RedisServer) -> Options {
    let mut options = options(&server.url());
    options.access.user = Some("wharf".into());
    options.access.password = Some(Secret::new("sesame"));
    options
}

fn rights() -> String {
    RIGHTS.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough() {
    let text = std::fs::read_to_string("../docs/operations.md").unwrap();
    let words: Vec<_> = text.split_whitespace().collect();
    assert!(words.join(" ").contains(&rights()), "not documented");

    let server = server(&rights()).await;
    add(&server, STREAM, 0..10).await;
    let in_url = options(&server.url().replace("://", "://wharf:sesame@"));
    for options in [user(&server), in_url] {
        let mut host = host_with(options, spec()).await;
        let taken = host.take(5).await;
        let kept = Duration::from_millis(1);
        host.release(taken, Some(kept), 1).await;
        let taken = host.take(5).await;
        let results = host.commit(taken, |_| vec![to("out", "x")]).await;
        assert!(results.iter().all(|r| *r == Committed::Done), "{results:?}");
        let sent = host.broker.publisher().publish(&[&to("out", "y")]).await;
        assert_eq!(sent, [Ok(())]);
        host.broker.lag(&spec()).await.unwrap();
        assert_eq!(host.broker.health(), Health::Ready);
        host.close().await;
        add(&server, STREAM, 0..5).await;
    }
    // A host that died is one more thing to be done.
    let url = server.url().replace("://", "://wharf:sesame@");
    let held = Doomed::holding(&url, 5).await.crash();
    let mut host = host_with(user(&server), spec()).await;
    let taken = host.take(10).await;
    assert!(payloads(&taken).is_superset(&held));
    host.accept(taken).await;
    nothing_left(&server).await;
    let refused = server.command("ACL LOG").await;
    assert_eq!(refused, redis::Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_wrong_password_is_said_in_the_words_of_the_server() {
    let server = server(&rights()).await;
    let mut wrong = user(&server);
    wrong.access.password = Some(Secret::new("open"));
    let host = host_with(wrong, spec()).await;
    let told =
        |said: &str| said.contains("WRONGPASS") && said.contains("; check `user` and `password`");
    until("it is said", || async {
        matches!(host.broker.health(), Health::Waiting(said) if told(&said))
    })
    .await;
}

/// How often the server refused a command for want of a right.
async fn refusals(server: &RedisServer) -> u64 {
    let redis::Value::BulkString(stats) = server.command("INFO commandstats").await else {
        panic!("no text");
    };
    let stats = String::from_utf8_lossy(&stats).into_owned();
    let counts = stats
        .split("rejected_calls=")
        .skip(1)
        .map(|rest| rest.split(',').next().unwrap().parse::<u64>().unwrap());
    counts.sum()
}

#[tokio::test]
async fn without_the_right_to_read_it_waits_and_says_which() {
    for missing in ["xreadgroup", "xgroup", "evalsha"] {
        let server = server(&format!("{} -{missing}", rights())).await;
        add(&server, STREAM, 0..1).await;
        let mut host = host_with(user(&server), spec()).await;
        // It reads when it is asked.
        let said = tokio::time::timeout(PATIENCE, async {
            loop {
                let asked = host.source.fetch(room(1));
                drop(tokio::time::timeout(Duration::from_millis(100), asked).await);
                if let Health::Waiting(said) = host.broker.health()
                    && said.contains("NOPERM")
                {
                    return said;
                }
            }
        });
        let said = said.await.expect("it is said");
        assert!(
            said.contains(missing) && said.contains("ACL SETUSER"),
            "{said}"
        );
        let before = refusals(&server).await;
        let asked = tokio::time::timeout(Duration::from_secs(2), async {
            loop {
                match host.source.fetch(room(1)).await {
                    Err(BrokerError::Refused(said)) => assert!(said.contains("NOPERM"), "{said}"),
                    other => panic!("{}", other.is_ok()),
                }
            }
        });
        assert!(asked.await.is_err(), "it goes on for ever");
        let spent = refusals(&server).await - before;
        assert!(spent < 60, "{missing}: {spent} in two seconds");
        // It goes on by itself once it may.
        server
            .command(&format!("ACL SETUSER wharf +{missing}"))
            .await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let taken = loop {
            assert!(tokio::time::Instant::now() < deadline, "never read");
            if let Ok(taken) = host.source.fetch(room(1)).await {
                break taken;
            }
        };
        host.accept(taken).await;
    }
}

#[tokio::test]
async fn without_the_right_to_write_nothing_of_the_commit_happens() {
    let server = server(&rights()).await;
    add(&server, STREAM, 0..2).await;
    let mut host = host_with(user(&server), spec()).await;
    let taken = host.take(2).await;
    let outputs = |parcel: &wharf::delivery::Parcel| match &parcel.message.payload[..] {
        b"0" => vec![to("out", "0"), to("vault", "0")],
        _ => vec![to("out", "1")],
    };
    let results = host.commit(taken, outputs).await;
    match &results[0] {
        Committed::NotPublished(_, PublishError::Destination(said)) => {
            assert!(said.contains("NOPERM"), "{said}");
            assert!(said.contains("ACL SETUSER"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(results[1], Committed::Done, "its neighbour");
    assert_eq!(host.broker.len("out").await.unwrap(), 1);
    assert_eq!(pending(&server, STREAM).await, 1);
    let sent = host.broker.publisher().publish(&[&to("vault", "y")]).await;
    assert!(
        matches!(&sent[0], Err(PublishError::Destination(said)) if said.contains("NOPERM")),
        "{sent:?}"
    );
}

#[tokio::test]
async fn without_the_right_to_settle_nobody_is_taken_for_the_owner() {
    for missing in ["xpending", "xack"] {
        let server = server(&rights()).await;
        add(&server, STREAM, 0..1).await;
        let mut host = host_with(user(&server), spec()).await;
        let taken = host.take(1).await;
        server
            .command(&format!("ACL SETUSER wharf -{missing}"))
            .await;
        let results = host.settle(taken, Settlement::Accept).await;
        match &results[0] {
            Err(SettleError::Unavailable(said)) => {
                assert!(
                    said.contains("can't run this command") || said.contains("NOPERM"),
                    "{said}"
                );
                assert!(said.contains(&missing.to_uppercase()), "{said}");
            }
            other => panic!("{missing}: {other:?}"),
        }
        assert_eq!(pending(&server, STREAM).await, 1);
    }
}
