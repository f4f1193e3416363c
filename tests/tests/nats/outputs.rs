//! What is published: confirmed by a stream, recognised when it is repeated, refused for a reason.

use std::time::Duration;

use tokio::time::Instant;
use wharf::config::ByteSize;
use wharf::config::nats::{Discard, Stream};
use wharf::message::{Header, Outgoing};
use wharf::ports::{Broker, PublishError};
use wharf_tests::nats_server::NatsServer;
use wharf_tests::proxy::Proxy;

use crate::support::*;

fn destination(result: &Result<(), PublishError>) -> &str {
    match result {
        Err(PublishError::Destination(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn message(result: &Result<(), PublishError>) -> &str {
    match result {
        Err(PublishError::Message(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_are_confirmed_in_order_and_a_repeat_is_recognised() {
    let server = server().await;
    let host = host(&server).await;
    host.ready().await;
    let all: Vec<_> = (0..1500)
        .map(|n| output("orders.out", &format!("id-{n}")))
        .collect();
    assert!(host.publish(&all).await.iter().all(Result::is_ok));
    assert_eq!(server.held(STREAM).await, Some(1500));
    // After a crash the same outputs are published again.
    assert!(host.publish(&all).await.iter().all(Result::is_ok));
    assert_eq!(server.held(STREAM).await, Some(1500));
    let there = server.messages(STREAM).await;
    for (n, message) in there.iter().enumerate() {
        let id = format!("id-{n}");
        let headers = message.headers.as_ref().expect("headers");
        let said = |name: &str| headers.get(name).map(|v| v.as_str().to_owned());
        assert_eq!(said("Nats-Msg-Id"), Some(id.clone()));
        assert_eq!(said("wharf-id"), Some(id));
    }
}

/// Whether it is one takes a look at what the stream has. The connection is lost in the middle of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_while_a_repeat_is_looked_at_costs_no_time() {
    let server = server().await;
    let proxy = Proxy::start(server.port()).await;
    let url = NatsServer::url_by(proxy.port());
    let host = host_with(config(&url), spec()).await;
    host.ready().await;
    let one = [output("orders.out", "7")];
    assert_eq!(host.publish(&one).await, [Ok(())]);
    proxy.cut_at("MSG.GET");
    let begun = Instant::now();
    assert_eq!(host.publish(&one).await, [Ok(())]);
    assert!(proxy.has_cut());
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(server.held(STREAM).await, Some(1));
}

/// One stream holds both subjects: an id that was on one of them is not a repeat on the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_outputs_of_one_id_are_two() {
    let server = server().await;
    let host = host(&server).await;
    host.ready().await;
    let both = [output("orders.eu", "7"), output("orders.us", "7")];
    for _ in 0..2 {
        assert_eq!(host.publish(&both).await, [Ok(()), Ok(())]);
    }
    let there = server.messages(STREAM).await;
    let subjects: Vec<_> = there.iter().map(|m| m.subject.as_str()).collect();
    assert_eq!(subjects, ["orders.eu", "orders.us"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_that_no_stream_holds_is_a_missing_destination() {
    let server = server().await;
    let host = host(&server).await;
    host.ready().await;
    let results = host
        .publish(&[output("nobody.here", "1"), output("orders.out", "2")])
        .await;
    let why = destination(&results[0]);
    assert!(
        why.contains("no stream holds the subject nobody.here"),
        "{why}"
    );
    assert_eq!(results[1], Ok(()));
    // Somebody who listens is no stream.
    let client = server.client().await;
    let _listening = client.subscribe("heard.only").await.expect("subscribed");
    client.flush().await.expect("flushed");
    let results = host.publish(&[output("heard.only", "3")]).await;
    destination(&results[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_stream_is_made_for_the_first_output() {
    let server = NatsServer::start().await;
    let mut declared = config(&server.url());
    declared.declare.dead_letters = Some("DLQ".into());
    let full = Stream {
        max_messages: Some(1),
        discard: Discard::New,
        ..Stream::new(&["few.>"])
    };
    declared.declare.streams.insert("FEW".into(), full);
    let host = host_with(declared, subject("x", "billing")).await;
    host.ready().await;
    assert_eq!(
        host.publish(&[output("dlq.in.billing", "1")]).await,
        [Ok(())]
    );
    assert_eq!(server.held("DLQ").await, Some(1));
    // One that is full is at fault, not the message.
    let results = host
        .publish(&[output("few.a", "1"), output("few.b", "2")])
        .await;
    assert_eq!(results[0], Ok(()));
    let why = destination(&results[1]);
    assert!(why.contains("maximum messages exceeded"), "{why}");
    assert!(why.contains("raise its `max_messages`"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_the_messages_fault() {
    let server = server().await;
    let mut declared = config(&server.url());
    let small = Stream {
        max_message: Some(ByteSize::kib(1)),
        ..Stream::new(&["small.>"])
    };
    declared.declare.streams.insert("SMALL".into(), small);
    let host = host_with(declared, spec()).await;
    host.ready().await;
    let of = |subject: &str, size: usize| {
        let mut one = output(subject, "1");
        one.message.payload = "x".repeat(size).into();
        one
    };
    let results = host
        .publish(&[
            of("orders.out", 2 << 20),
            of("small.a", 2000),
            of("small.b", 10),
        ])
        .await;
    let why = message(&results[0]);
    assert!(why.contains("payload"), "{why}");
    assert!(why.contains("raise `max_payload` at the server"), "{why}");
    let why = message(&results[1]);
    assert!(why.contains("message size exceeds maximum"), "{why}");
    assert!(why.contains("raise `max_message` of the stream"), "{why}");
    assert_eq!(results[2], Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_the_destination_is_at_fault_and_says_why() {
    let mut server = server().await;
    let host = host(&server).await;
    host.ready().await;
    server.kill();
    host.says("nats").await;
    let results = host.publish(&[output("orders.out", "1")]).await;
    let why = destination(&results[0]);
    assert!(why.contains("127.0.0.1"), "{why}");
    server.run().await;
    host.ready().await;
    assert_eq!(host.publish(&[output("orders.out", "1")]).await, [Ok(())]);
    assert_eq!(server.held(STREAM).await, Some(1));
}

/// The connection is cut while outputs are on their way: they are published again, and each lies there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_under_outputs_doubles_and_loses_none() {
    let server = server().await;
    let proxy = Proxy::start(server.port()).await;
    let url = NatsServer::url_by(proxy.port());
    let host = host_with(config(&url), spec()).await;
    host.ready().await;
    let mut left: Vec<_> = (0..2000)
        .map(|n| output("orders.out", &n.to_string()))
        .collect();
    let mut rounds = 0_u64;
    while !left.is_empty() {
        rounds += 1;
        assert!(rounds < 200, "{} are left", left.len());
        let cutting = async {
            if rounds < 5 {
                tokio::time::sleep(std::time::Duration::from_millis(3 * rounds)).await;
                proxy.cut();
            }
        };
        let (results, ()) = tokio::join!(host.publish(&left), cutting);
        let mut results = results.into_iter();
        left.retain(|_| match results.next() {
            Some(Ok(())) => false,
            Some(Err(PublishError::Destination(_))) => true,
            other => panic!("{other:?}"),
        });
        if !left.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    assert_eq!(server.held(STREAM).await, Some(2000));
}

/// Headers that NATS cannot hold go through a real server and come back byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_headers_come_back_byte_for_byte() {
    let server = server().await;
    let mut host = host(&server).await;
    host.ready().await;
    let header = |name: &str, value: &[u8]| Header {
        name: name.to_owned().into(),
        value: value.to_vec().into(),
    };
    let headers = vec![
        header("", b"no name"),
        header("Grüße", b"aus \xff"),
        header("Nats-Expected-Stream", b"ANOTHER"),
        header("Nats-Rollup", b"all"),
        header("a", b"1"),
        header("a", b"2\r\n3"),
        header("a", b" 4 "),
        header("a:b", b"colon"),
        header("empty", b""),
        header("wharf-header", b"x=y"),
        header("wharf-parked", b"{}"),
    ];
    let mut out = output("orders.odd", "1");
    out.message = Outgoing {
        headers: headers.clone(),
        key: Some(b"\x00\xff".to_vec().into()),
        correlation_id: Some("two\nlines".into()),
        tombstone: true,
        ..out.message
    };
    assert_eq!(host.publish(&[out]).await, [Ok(())]);
    let taken = host.take(1).await;
    let m = taken[0].message();
    assert_eq!(m.headers, headers);
    assert_eq!(m.key.as_deref(), Some(&b"\x00\xff"[..]));
    assert_eq!(m.correlation_id.as_deref(), Some("two\nlines"));
    assert!(m.tombstone && m.id == "1");
    // And once more, after it has waited.
    all_well(host.settle(taken, release(None, 1)).await);
    let taken = host.take(1).await;
    assert_eq!(taken[0].message().headers, headers);
    host.accept(taken).await;
    nothing_left(&server).await;
}

#[test]
fn it_speaks_of_itself_as_the_conventions_do() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let broker = wharf::broker::nats::NatsBroker::open("bus", &config("nats://127.0.0.1:9"));
        let broker = broker.expect("a good configuration");
        assert_eq!((broker.name(), broker.system()), ("bus", "nats"));
    });
}
