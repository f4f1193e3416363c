//! Servers and connections that go and come, streams and consumers that are deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wharf::config::nats::{Nats, Stream};
use wharf::ports::SettleError;
use wharf_tests::nats_server::{Depth, NatsServer};
use wharf_tests::proxy::Proxy;

use crate::support::*;

/// The server is killed three times while messages flow. Each is handled. What it had not written down comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_nothing() {
    let mut server = server().await;
    let context = server.jetstream().await;
    for n in 0..600 {
        let sent = context.publish("orders.eu", n.to_string().into()).await;
        sent.expect("published").await.expect("confirmed");
    }
    let mut host = host_with(impatient(&server.url()), spec()).await;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut kills = 0_u32;
    while seen.len() < 600 {
        let taken = host.take(1).await;
        for payload in payloads(&taken) {
            *seen.entry(payload).or_default() += 1;
        }
        if seen.len() > 150 * (kills as usize + 1) && kills < 3 {
            kills += 1;
            server.restart().await;
        }
        host.accept(taken).await;
    }
    assert_eq!(kills, 3);
    let deadline = Instant::now() + PATIENCE;
    while server.depth(STREAM, "billing").await != Some(Depth::default()) {
        assert!(Instant::now() < deadline, "{seen:?}");
        let taken = host.within(Duration::from_millis(500), 100).await;
        for payload in payloads(&taken) {
            *seen.entry(payload).or_default() += 1;
        }
        host.accept(taken).await;
    }
    assert!(seen.values().all(|n| *n <= 1 + kills), "{seen:?}");
    nothing_left(&server).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_at_work_soon_after_the_server_is_back() {
    let mut server = server().await;
    let mut host = host(&server).await;
    host.ready().await;
    server.kill();
    host.says("refused").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.run().await;
    let back = Instant::now();
    server.publish("orders.eu", "a").await;
    let taken = host.take(1).await;
    assert!(back.elapsed() < Duration::from_secs(5));
    host.accept(taken).await;
    host.ready().await;
    nothing_left(&server).await;
}

/// It comes back as it was before the acknowledgements of 150 messages and the delivery of ten. The ten are in hand, and done
/// with; that the server delivers them again waits for the 150, and those wait for whoever has the ten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_forgot_to_have_delivered_blocks_nobody() {
    let mut server = server().await;
    for n in 0..160 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let config = Nats {
        max_ack_pending: 150,
        ..impatient(&server.url())
    };
    let mut host = host_with(config, spec()).await;
    let first = host.take(150).await;
    server.kill();
    server.remember();
    server.run().await;
    host.accept(first).await;
    let last = host.take(10).await;
    server.kill();
    server.forget();
    server.run().await;

    host.accept(last).await;
    let again = host.take(150).await;
    let mut expected: Vec<_> = (0..150).map(|n| n.to_string()).collect();
    expected.sort();
    assert_eq!(payloads(&again), expected, "the ten do not come again");
    host.accept(again).await;
    nothing_left(&server).await;
    let more = host.within(Duration::from_millis(200), 10).await;
    assert_eq!(payloads(&more), [""; 0]);
    host.stop().await;
}

/// What was taken in before a cut is settled after it: the connection is not the message's owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_takes_nothing_out_of_anybodys_hands() {
    let server = server().await;
    let proxy = Proxy::start(server.port()).await;
    for n in 0..20 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let url = NatsServer::url_by(proxy.port());
    let mut host = host_with(config(&url), spec()).await;
    let taken = host.take(20).await;
    for _ in 0..3 {
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    host.accept(taken).await;
    nothing_left(&server).await;
    server.publish("orders.eu", "after").await;
    let taken = host.take(1).await;
    assert_eq!(payloads(&taken), ["after"]);
    host.accept(taken).await;
}

/// The answers to acknowledgements are lost: they are asked for again, and do no harm twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_are_asked_for_again() {
    let server = server().await;
    let proxy = Proxy::start(server.port()).await;
    for n in 0..50 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let url = NatsServer::url_by(proxy.port());
    let mut host = host_with(impatient(&url), spec()).await;
    let mut taken = host.take(50).await;
    let released = taken.split_off(40);
    for round in 1..4 {
        let some: Vec<_> = taken.drain(..10).collect();
        let cutting = async {
            tokio::time::sleep(Duration::from_millis(round as u64)).await;
            proxy.cut();
        };
        tokio::join!(host.accept(some), cutting);
    }
    host.accept(taken).await;
    let cutting = async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        proxy.cut();
    };
    let later = release(None, 1);
    let (results, ()) = tokio::join!(host.settle(released, later), cutting);
    let done = results.iter().filter(|r| r.is_ok()).count();
    // The others are still in hand for a committer that asks again; here they come by the server's patience, or not at all
    // where they were published and only the answer was lost.
    assert!(
        results
            .iter()
            .all(|r| !matches!(r, Err(SettleError::Fenced(_)))),
        "{results:?}"
    );
    let taken = host.take(done).await;
    assert!(taken.iter().all(|d| d.message().attempts == 1));
    host.accept(taken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_noticed_and_heals() {
    let server = server().await;
    let proxy = Proxy::start(server.port()).await;
    let url = NatsServer::url_by(proxy.port());
    let mut host = host_with(config(&url), spec()).await;
    server.publish("orders.eu", "before").await;
    let taken = host.take(1).await;
    proxy.black_hole();
    let silent = Instant::now();
    host.says("no answer").await;
    assert!(
        silent.elapsed() < Duration::from_secs(8),
        "{:?}",
        silent.elapsed()
    );
    server.publish("orders.eu", "behind").await;
    proxy.heal();
    host.accept(taken).await;
    let taken = host.take(1).await;
    assert_eq!(payloads(&taken), ["behind"]);
    host.accept(taken).await;
    nothing_left(&server).await;
    host.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_server_is_waited_for() {
    let mut server = NatsServer::absent("");
    let mut declared = config(&server.url());
    let stream = Stream::new(&SUBJECTS);
    declared.declare.streams.insert(STREAM.into(), stream);
    let mut host = host_with(declared, spec()).await;
    host.says("refused").await;
    host.says("; check host and port in `url`").await;
    server.run().await;
    host.ready().await;
    server.publish("orders.eu", "a").await;
    let taken = host.take(1).await;
    host.accept(taken).await;
    nothing_left(&server).await;
}

/// A stream that is deleted and made again counts from 1 once more; nothing of it is taken for something older.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_is_missed_and_found_again() {
    let server = server().await;
    let mut host = host(&server).await;
    for name in ["a", "b"] {
        server.publish("orders.eu", name).await;
    }
    let mut taken = host.take(2).await;
    let first = taken[0].message().id.clone();
    let old = taken.split_off(1);
    all_well(host.settle(taken, release(None, 1)).await);
    let again = host.take(1).await;
    server.delete(STREAM).await;
    host.says("no stream ORDERS").await;
    server.stream(STREAM, &SUBJECTS).await;
    for name in ["c", "d"] {
        server.publish("orders.eu", name).await;
    }
    let new = host.take(2).await;
    assert_eq!(payloads(&new), ["c", "d"]);
    assert!(new.iter().all(|d| d.message().id != first));
    // What was in hand of the old one has nobody to be settled with.
    for result in host.settle(old, wharf::commit::Settlement::Accept).await {
        assert!(matches!(result, Err(SettleError::Fenced(_))), "{result:?}");
    }
    // Released, they wait under other names than what the old stream's messages had.
    all_well(host.settle(new, release(None, 1)).await);
    let new = host.take(2).await;
    assert_eq!(payloads(&new), ["c", "d"]);
    host.accept(new).await;
    host.accept(again).await;
    nothing_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_stream_that_is_deleted_is_made_again() {
    let server = NatsServer::start().await;
    let mut declared = config(&server.url());
    let stream = Stream::new(&SUBJECTS);
    declared.declare.streams.insert(STREAM.into(), stream);
    let mut host = host_with(declared, spec()).await;
    host.ready().await;
    server.delete(STREAM).await;
    let deadline = Instant::now() + PATIENCE;
    while server.held(STREAM).await.is_none() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.publish("orders.eu", "a").await;
    let taken = host.take(1).await;
    host.accept(taken).await;
    nothing_left(&server).await;
}

/// A consumer that is deleted is made again and begins anew: nothing is lost, what was handled comes once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_deleted_begins_anew() {
    let server = server().await;
    let mut host = host(&server).await;
    server.publish("orders.eu", "a").await;
    let taken = host.take(1).await;
    host.accept(taken).await;
    let stream = server.jetstream().await.get_stream(STREAM).await;
    let stream = stream.expect("a stream");
    stream.delete_consumer("billing").await.expect("deleted");
    server.publish("orders.eu", "b").await;
    let taken = host.take(2).await;
    assert_eq!(payloads(&taken), ["a", "b"]);
    host.accept(taken).await;
    nothing_left(&server).await;
}

/// Slower than the server's patience: the server is asked for more, and nobody else gets the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_keeps_its_messages() {
    let server = server().await;
    let short = Nats {
        ack_wait: Duration::from_secs(1),
        ..config(&server.url())
    };
    for n in 0..5 {
        server.publish("orders.eu", &n.to_string()).await;
    }
    let mut host = host_with(short.clone(), spec()).await;
    // One runs, four wait where nobody has fetched them.
    let slow = host.take(1).await;
    let mut other = host_with(short, spec()).await;
    assert_eq!(
        payloads(&other.within(Duration::from_secs(4), 9).await),
        [""; 0]
    );
    host.accept(slow).await;
    let rest = host.take(4).await;
    assert!(rest.iter().all(|d| d.message().deliveries == 1));
    host.accept(rest).await;
    nothing_left(&server).await;
}

/// A connection that was away for longer than the server's patience: what is in hand comes again, and is not handed over
/// twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_hand_is_not_handed_over_twice() {
    let server = server().await;
    let proxy = Proxy::start(server.port()).await;
    let url = NatsServer::url_by(proxy.port());
    let short = Nats {
        ack_wait: Duration::from_secs(1),
        ..config(&url)
    };
    let mut host = host_with(short, spec()).await;
    server.publish("orders.eu", "a").await;
    let taken = host.take(1).await;
    proxy.refuse();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    proxy.heal();
    host.ready().await;
    assert_eq!(
        payloads(&host.within(Duration::from_secs(3), 9).await),
        [""; 0]
    );
    let depth = server.depth(STREAM, "billing").await.expect("a consumer");
    assert_eq!((depth.pending, depth.redelivered), (1, 1));
    host.accept(taken).await;
    nothing_left(&server).await;
}
