//! Lists and sorted sets: what only they can suffer.

use std::time::Duration;

use redis::Value;
use tokio::time::Instant;
use wharf::commit::Settlement;
use wharf::place::PlaceKind;
use wharf::ports::{BrokerError, Committed, Room, SettleError, SubscriptionSpec};
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

const PLACE: &str = "jobs";
const KINDS: [PlaceKind; 2] = [PlaceKind::List, PlaceKind::SortedSet];

fn of(kind: PlaceKind) -> SubscriptionSpec {
    SubscriptionSpec {
        kind,
        address: PLACE.into(),
        ..spec()
    }
}

async fn reader(server: &RedisServer, kind: PlaceKind) -> Host {
    host_with(options(&server.url()), of(kind)).await
}

/// Puts `from..to` there as plain values, as any client would; the first of them is to be read first.
async fn push(server: &RedisServer, kind: PlaceKind, numbers: std::ops::Range<u32>) {
    let mut pipe = redis::pipe();
    for n in numbers {
        match kind {
            PlaceKind::List => pipe.cmd("LPUSH").arg(PLACE).arg(n),
            _ => pipe.cmd("ZADD").arg(PLACE).arg(1000 - n).arg(n),
        };
    }
    let _lengths: Vec<Value> = pipe
        .query_async(&mut server.client().await)
        .await
        .expect("pushed");
}

async fn count(server: &RedisServer, words: &str) -> i64 {
    match server.command(words).await {
        Value::Int(count) => count,
        other => panic!("not a count: {other:?}"),
    }
}

/// Nothing of the place is left, and nothing beside it but the host that reads.
async fn nothing(server: &RedisServer, kind: PlaceKind) {
    let length = if kind == PlaceKind::List {
        "LLEN"
    } else {
        "ZCARD"
    };
    assert_eq!(count(server, &format!("{length} {PLACE}")).await, 0);
    for (verb, what) in [("HLEN", "items"), ("HLEN", "kept"), ("ZCARD", "due")] {
        let key = format!("wharf:queue:{{{PLACE}}}:{PLACE}:{what}");
        assert_eq!(count(server, &format!("{verb} {key}")).await, 0, "{what}");
    }
}

async fn in_hand(server: &RedisServer) -> i64 {
    count(
        server,
        &format!("HLEN wharf:queue:{{{PLACE}}}:{PLACE}:items"),
    )
    .await
}

#[tokio::test]
async fn plain_values_are_payloads_in_the_order_they_are_read() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        push(&server, kind, 0..20).await;
        let mut host = reader(&server, kind).await;
        let taken = host.take(20).await;
        let read: Vec<_> = taken.iter().map(|d| d.message().payload.clone()).collect();
        let wanted: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(read, wanted, "{kind:?}");
        let first = taken[0].message();
        assert!(first.id_stable && first.headers.is_empty(), "{first:?}");
        assert_eq!((first.attempts, first.deliveries), (0, 1));
        assert_eq!(
            (&*first.topic, &*first.id),
            (PLACE, &*first.origin.position)
        );
        assert_eq!(first.priority, None, "1000 is no priority");
        assert_eq!(in_hand(&server).await, 20);
        host.accept(taken).await;
        nothing(&server, kind).await;
        host.close().await;
    }
}

/// Neither is the other's repeat, and settling one leaves the other.
#[tokio::test]
async fn two_equal_values_of_a_list_are_two_messages() {
    let server = RedisServer::start().await;
    let _ = server.command(&format!("LPUSH {PLACE} same same")).await;
    let mut host = reader(&server, PlaceKind::List).await;
    let mut taken = host.take(2).await;
    assert_ne!(taken[0].message().id, taken[1].message().id);
    let other = taken.pop().expect("two");
    let id = other.message().id.clone();
    host.accept(taken).await;
    assert_eq!(in_hand(&server).await, 1);
    host.release(vec![other], None, 1).await;
    let again = host.take(1).await;
    assert_eq!(again[0].message().id, id, "the same id again");
    assert_eq!(
        (&again[0].message().payload[..], again[0].message().attempts),
        (&b"same"[..], 1)
    );
    host.accept(again).await;
    nothing(&server, PlaceKind::List).await;
}

#[tokio::test]
async fn two_outputs_of_equal_payload_are_two_members() {
    let server = RedisServer::start().await;
    push(&server, PlaceKind::List, 0..2).await;
    let mut host = reader(&server, PlaceKind::List).await;
    let taken = host.take(2).await;
    let done = host
        .commit(taken, |parcel| {
            let mut one = to("urgent", "same");
            one.destination = destination("urgent", PlaceKind::SortedSet);
            one.message.id = Some(format!("{}/out", parcel.message.payload[0]).into());
            vec![one]
        })
        .await;
    assert_eq!(done, [Committed::Done, Committed::Done]);
    assert_eq!(count(&server, "ZCARD urgent").await, 2);
}

/// What waits is nobody's, and is not in the way of others.
#[tokio::test]
async fn a_delayed_retry_blocks_nobody_and_keeps_what_it_had() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        push(&server, kind, 0..1).await;
        let mut host = reader(&server, kind).await;
        let taken = host.take(1).await;
        let released = Instant::now();
        let delay = Duration::from_millis(1500);
        host.release(taken, Some(delay), 2).await;
        push(&server, kind, 1..30).await;
        let others = host.take(29).await;
        assert!(released.elapsed() < delay, "{:?}", released.elapsed());
        assert_eq!(payloads(&others), numbers(1..30));
        host.accept(others).await;
        let again = host.take(1).await;
        assert!(released.elapsed() >= delay, "{:?}", released.elapsed());
        let message = again[0].message();
        assert_eq!(&message.payload[..], b"0");
        assert_eq!((message.attempts, message.deliveries), (2, 1));
        assert_eq!(message.first_failed_ms, Some(FIRST_FAILED));
        host.accept(again).await;
        nothing(&server, kind).await;
    }
}

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
        host.accept(taken).await;
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

/// Another client takes from the same list: each item goes to one of the two, and what is in hand is out of its reach.
#[tokio::test]
async fn a_foreign_reader_takes_what_is_waiting_and_nothing_in_hand() {
    let server = RedisServer::start().await;
    push(&server, PlaceKind::List, 0..3).await;
    let mut host = reader(&server, PlaceKind::List).await;
    let taken = host.take(3).await;
    assert_eq!(server.command(&format!("RPOP {PLACE}")).await, Value::Nil);
    push(&server, PlaceKind::List, 3..4).await;
    let mut mine = host.take_within(Duration::from_millis(300)).await;
    let theirs = server.command(&format!("RPOP {PLACE}")).await;
    assert_eq!(usize::from(theirs != Value::Nil) + mine.len(), 1);
    mine.extend(taken);
    host.accept(mine).await;
    nothing(&server, PlaceKind::List).await;
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

/// Several outputs to several kinds of places, and one that cannot be: all or nothing.
#[tokio::test]
async fn outputs_and_settlement_are_one_step() {
    let server = RedisServer::start().await;
    push(&server, PlaceKind::List, 0..2).await;
    let _ = server.command("SET wrong text").await;
    let mut host = reader(&server, PlaceKind::List).await;
    let taken = host.take(2).await;
    let answers = host
        .commit(taken, |parcel| {
            let mut outputs = Vec::new();
            for (place, kind) in [
                ("list", PlaceKind::List),
                ("set", PlaceKind::SortedSet),
                ("stream", PlaceKind::Stream),
            ] {
                let mut one = to(place, parcel.message.payload.clone());
                one.destination = destination(place, kind);
                outputs.push(one);
            }
            if &parcel.message.payload[..] == b"1" {
                outputs.push(to("wrong", "x"));
            }
            outputs
        })
        .await;
    assert_eq!(answers[0], Committed::Done);
    assert!(
        matches!(&answers[1], Committed::NotPublished(3, _)),
        "{answers:?}"
    );
    for length in ["LLEN list", "ZCARD set", "XLEN stream"] {
        assert_eq!(count(&server, length).await, 1, "{length}");
    }
    assert_eq!(in_hand(&server).await, 1, "the other is still in hand");
}

/// The priority is the whole part of a score, and wins over age.
#[tokio::test]
async fn the_highest_score_comes_first() {
    let server = RedisServer::start().await;
    let scores = [
        ("low", "1"),
        ("high", "9"),
        ("middle", "5.5"),
        ("none", "-1"),
        ("most", "255"),
    ];
    for (name, score) in scores {
        let _ = server
            .command(&format!("ZADD {PLACE} {score} {name}"))
            .await;
    }
    let mut host = reader(&server, PlaceKind::SortedSet).await;
    let taken = host.take(5).await;
    let read: Vec<_> = taken
        .iter()
        .map(|d| {
            (
                String::from_utf8_lossy(&d.message().payload).into_owned(),
                d.message().priority,
            )
        })
        .collect();
    let wanted = [
        ("most", Some(255)),
        ("high", Some(9)),
        ("middle", Some(5)),
        ("low", Some(1)),
        ("none", None),
    ];
    assert_eq!(
        read,
        wanted.map(|(name, priority)| (name.to_owned(), priority))
    );
    // It is the same when it comes again.
    host.release(taken, None, 1).await;
    let again = host.take(5).await;
    let most = again.iter().find(|d| &d.message().payload[..] == b"most");
    assert_eq!(most.expect("there").message().priority, Some(255));
    host.accept(again).await;
    nothing(&server, PlaceKind::SortedSet).await;
}

#[tokio::test]
async fn redriven_messages_come_by_a_list() {
    for kind in KINDS {
        let server = RedisServer::start().await;
        let mut host = reader(&server, kind).await;
        let _ = server.command("LPUSH retry.orders-in.biller again").await;
        let taken = host.take(1).await;
        assert_eq!(&*taken[0].message().topic, "retry.orders-in.biller");
        push(&server, kind, 0..1).await;
        let own = host.take(1).await;
        // Both in one batch: each is settled where it belongs.
        let both = taken.into_iter().chain(own).collect();
        host.accept(both).await;
        nothing(&server, kind).await;
        let left = "HLEN wharf:queue:{retry.orders-in.biller}:retry.orders-in.biller:items";
        assert_eq!(count(&server, left).await, 0);
    }
}
