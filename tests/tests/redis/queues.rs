//! Lists and sorted sets: what only they can suffer.

use std::time::Duration;

use redis::Value;
use tokio::time::Instant;
use wharf::place::PlaceKind;
use wharf::ports::{Committed, SubscriptionSpec};
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

pub(crate) const PLACE: &str = "jobs";
pub(crate) const KINDS: [PlaceKind; 2] = [PlaceKind::List, PlaceKind::SortedSet];

pub(crate) fn of(kind: PlaceKind) -> SubscriptionSpec {
    SubscriptionSpec {
        kind,
        address: PLACE.into(),
        ..spec()
    }
}

pub(crate) async fn reader(server: &RedisServer, kind: PlaceKind) -> Host {
    host_with(options(&server.url()), of(kind)).await
}

/// Puts `from..to` there as plain values, as any client would; the first of them is to be read first.
pub(crate) async fn push(server: &RedisServer, kind: PlaceKind, numbers: std::ops::Range<u32>) {
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

pub(crate) async fn count(server: &RedisServer, words: &str) -> i64 {
    match server.command(words).await {
        Value::Int(count) => count,
        other => panic!("not a count: {other:?}"),
    }
}

/// Nothing of the place is left, and nothing beside it but the host that reads.
pub(crate) async fn nothing(server: &RedisServer, kind: PlaceKind) {
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

pub(crate) async fn in_hand(server: &RedisServer) -> i64 {
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
