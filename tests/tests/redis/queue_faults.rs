//! Lists and sorted sets where a host dies, is taken for dead, or loses its server.

use std::time::Duration;

use redis::Value;
use tokio::time::Instant;
use wharf::commit::Settlement;
use wharf::ports::{BrokerError, Committed, Room, SettleError};
use wharf_tests::redis_server::RedisServer;

use crate::queues::{KINDS, PLACE, count, nothing, of, push, reader};
use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_host_had_in_hand_is_back_within_a_second() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        push(&server, kind, 0..20).await;
        let doomed = Doomed::holding_of(&server.url(), of(kind), 20).await;
        let mut host = reader(&server, kind).await;
        let early = host.take_within(Duration::from_millis(700)).await;
        assert!(early.is_empty(), "it lives");
        let held = doomed.crash();
        let crashed = Instant::now();
        let taken = host.take(20).await;
        let took = crashed.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(payloads(&taken), held);
        assert!(
            taken.iter().all(|d| d.message().deliveries == 2),
            "a crash is counted"
        );
        host.accept(taken).await;
        nothing(&server, kind).await;
        // The dead is forgotten, and we are all that is left.
        let hosts = format!("HLEN wharf:queue:{{{PLACE}}}:{PLACE}:hosts");
        until("the dead is forgotten", || async {
            count(&server, &hosts).await == 1
        })
        .await;
    }
}

/// It was away for longer than its lease, and somebody took over: whatever it does then is refused, outputs too.
#[tokio::test]
async fn a_stale_owner_is_fenced() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        push(&server, kind, 0..3).await;
        let mut stale = reader(&server, kind).await;
        let taken = stale.take(3).await;
        // As if its lease had run out unseen: the others look for nothing else.
        let leases = server
            .command(&format!("KEYS wharf:queue:{{{PLACE}}}:{PLACE}:lease:*"))
            .await;
        let Value::Array(leases) = leases else {
            panic!("no leases")
        };
        let mut other = reader(&server, kind).await;
        let [Value::BulkString(lease)] = &leases[..] else {
            panic!("not one lease: {leases:?}")
        };
        let lease = String::from_utf8(lease.clone()).expect("text");
        until("it is taken over", || async {
            // Renewed every third of a lease, and taken away again until somebody sees it.
            let _ = server.command(&format!("DEL {lease}")).await;
            let fenced = format!("HLEN wharf:queue:{{{PLACE}}}:{PLACE}:hosts");
            let held = lease.replace(":lease:", ":held:");
            count(&server, &format!("ZCARD {held}")).await == 0 && count(&server, &fenced).await > 0
        })
        .await;
        let answers = stale
            .commit(taken, |_| vec![to("out", "of a stale owner")])
            .await;
        for answer in answers {
            assert!(
                matches!(&answer, Committed::NotSettled(SettleError::Fenced(_))),
                "{answer:?}"
            );
        }
        assert_eq!(
            count(&server, "EXISTS out").await,
            0,
            "nothing was published"
        );
        // Whoever has room takes them, the stale one under its new name too.
        let mut done = 0;
        let deadline = Instant::now() + PATIENCE;
        while done < 3 {
            assert!(Instant::now() < deadline, "{done} came again");
            for host in [&mut other, &mut stale] {
                let again = host.take_within(Duration::from_millis(50)).await;
                done += again.len();
                host.accept(again).await;
            }
        }
        nothing(&server, kind).await;
    }
}

#[tokio::test]
async fn a_server_that_was_killed_has_all_of_it_again() {
    for kind in KINDS {
        let mut server = RedisServer::start_durable().await;
        push(&server, kind, 0..30).await;
        let mut host = reader(&server, kind).await;
        let mut taken = host.take(30).await;
        let waiting = taken.split_off(20);
        let done = taken.split_off(10);
        host.accept(done).await;
        host.release(waiting, None, 1).await;
        server.restart().await;
        // What is in hand is still ours: nobody took over.
        host.accept_at_last(taken).await;
        let again = host.take(10).await;
        assert!(again.iter().all(|d| d.message().attempts == 1), "{again:?}");
        host.accept(again).await;
        nothing(&server, kind).await;
    }
}

#[tokio::test]
async fn a_server_that_was_emptied_fences_what_was_in_hand_and_goes_on() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        push(&server, kind, 0..5).await;
        let mut host = reader(&server, kind).await;
        let taken = host.take(5).await;
        let _ = server.command("FLUSHALL").await;
        let fenced = host.settle(taken, Settlement::Accept).await;
        assert!(
            fenced
                .iter()
                .all(|r| matches!(r, Err(SettleError::Fenced(_)))),
            "{fenced:?}"
        );
        push(&server, kind, 5..10).await;
        let taken = host.take(5).await;
        assert_eq!(payloads(&taken), numbers(5..10));
        host.accept(taken).await;
        nothing(&server, kind).await;
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_refused_until_it_is_gone() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        let _ = server.command(&format!("SET {PLACE} text")).await;
        let mut host = reader(&server, kind).await;
        let room = Room {
            messages: 10,
            bytes: 1 << 20,
        };
        match host.source.fetch(room).await {
            Err(BrokerError::Refused(said)) => assert!(said.contains("WRONGTYPE"), "{said}"),
            other => panic!("{other:?}"),
        }
        let _ = server.command(&format!("DEL {PLACE}")).await;
        push(&server, kind, 0..3).await;
        let mut taken = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while taken.len() < 3 {
            assert!(Instant::now() < deadline, "never read");
            taken.extend(host.source.fetch(room).await.unwrap_or_default());
        }
        host.accept(taken).await;
        nothing(&server, kind).await;
    }
}

/// Not under its lease, nor counted as a crash.
#[tokio::test]
async fn an_orderly_stop_gives_back_at_once() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        push(&server, kind, 0..5).await;
        let mut slow = options(&server.url());
        slow.lease = Duration::from_secs(60);
        let mut before = host_with(slow, of(kind)).await;
        let taken = before.take(5).await;
        // Still in hand when it ends.
        before.close().await;
        drop(taken);
        let mut after = reader(&server, kind).await;
        let taken = after.take(5).await;
        assert!(
            taken.iter().all(|d| d.message().deliveries == 1),
            "{taken:?}"
        );
        after.accept(taken).await;
        nothing(&server, kind).await;
    }
}
