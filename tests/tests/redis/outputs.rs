use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use wharf::commit::{Commit, Publication};
use wharf::ports::{Broker, Committed, PublishError};
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

#[tokio::test]
async fn outputs_and_settlement_are_one_step() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..300).await;
    let mut host = host(&server.url()).await;
    let taken = host.take(300).await;
    let results = host
        .commit(taken, |p| {
            let payload = p.message.payload.clone();
            vec![to("a", payload.clone()), to("b", payload)]
        })
        .await;
    assert_eq!(results.len(), 300);
    assert!(results.iter().all(|r| *r == Committed::Done));
    assert_eq!(server.command("XLEN a").await, Value::Int(300));
    assert_eq!(server.command("XLEN b").await, Value::Int(300));
    nothing_left(&server).await;
}

#[tokio::test]
async fn an_output_that_is_not_taken_leaves_nothing_of_its_commit() {
    let server = RedisServer::start().await;
    server.command("SET wrong text").await;
    add(&server, STREAM, 0..3).await;
    let mut host = host(&server.url()).await;
    let taken = host.take(3).await;
    let results = host
        .commit(taken, |p| match &p.message.payload[..] {
            b"1" => vec![to("a", "half"), to("wrong", "half"), to("a", "half")],
            _ => vec![to("a", "whole")],
        })
        .await;
    assert_eq!(results[0], Committed::Done);
    match &results[1] {
        Committed::NotPublished(1, PublishError::Destination(said)) => {
            assert!(said.contains("WRONGTYPE"), "{said}");
            assert!(said.contains("; something of another type"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(results[2], Committed::Done);
    let published = host
        .broker
        .browse("a", &spec().payload, None, 10)
        .await
        .unwrap();
    assert!(
        published.iter().all(|m| &m.payload[..] == b"whole"),
        "{published:?}"
    );
    assert_eq!(published.len(), 2);
    assert_eq!(pending(&server, STREAM).await, 1, "not acknowledged");
}

#[tokio::test]
async fn a_held_commit_goes_through_once_its_destination_is_repaired() {
    let server = RedisServer::start().await;
    server.command("SET out text").await;
    add(&server, STREAM, 0..1).await;
    let mut host = host(&server.url()).await;
    let taken = host.take(1).await;
    let mut entries = Vec::new();
    for delivery in taken {
        delivery.commit(|parcel| Commit {
            publications: vec![to("first", "x"), to("out", "x")],
            parcel,
            settlement: wharf::commit::Settlement::Accept,
            cause: None,
            version: "".into(),
            lane: None,
        });
    }
    host.inbox.try_take(&mut entries);
    let Some(wharf::delivery::Entry::Commit(commit)) = entries.pop() else {
        panic!("committed");
    };
    for _ in 0..3 {
        let results = host.settler.commit(&[&commit]).await;
        assert!(
            matches!(results[0], Committed::NotPublished(1, _)),
            "{results:?}"
        );
    }
    server.command("DEL out").await;
    assert_eq!(host.settler.commit(&[&commit]).await, [Committed::Done]);
    assert_eq!(
        server.command("XLEN first").await,
        Value::Int(1),
        "no half was repeated"
    );
    assert_eq!(server.command("XLEN out").await, Value::Int(1));
    nothing_left(&server).await;
}

#[tokio::test]
async fn a_server_out_of_memory_holds_outputs_and_still_settles() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..2).await;
    let mut host = host(&server.url()).await;
    let mut taken = host.take(2).await;
    server.command("CONFIG SET maxmemory 1").await;
    let without = taken.split_off(1);
    let results = host.commit(taken, |_| vec![to("out", "x")]).await;
    match &results[0] {
        Committed::NotPublished(0, PublishError::Destination(said)) => {
            assert!(said.contains("OOM"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    host.accept(without).await;
    assert_eq!(pending(&server, STREAM).await, 1);
}

#[tokio::test]
async fn a_user_who_may_not_publish_is_told_so() {
    let server = RedisServer::start().await;
    server
        .command("ACL SETUSER narrow on >pw ~* &* +@all -xadd")
        .await;
    add(&server, STREAM, 0..1).await;
    let url = format!("redis://narrow:pw@127.0.0.1:{}", server.port());
    let mut host = host(&url).await;
    let taken = host.take(1).await;
    let results = host.commit(taken, |_| vec![to("out", "x")]).await;
    match &results[0] {
        Committed::NotPublished(0, PublishError::Destination(said)) => {
            assert!(said.contains("can't run this command"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pending(&server, STREAM).await, 1);
}

#[tokio::test]
async fn an_output_with_thousands_of_headers_and_megabytes_goes_through() {
    let server = RedisServer::start().await;
    add(&server, STREAM, 0..2).await;
    let mut host = host(&server.url()).await;
    let taken = host.take(2).await;
    let results = host
        .commit(taken, |p| {
            let count = if &p.message.payload[..] == b"0" {
                1000
            } else {
                10_000
            };
            let mut out = to("out", vec![b'x'; 5 << 20]);
            out.message.headers = (0..count)
                .map(|n| wharf::message::Header::text(format!("h{n}"), "v"))
                .collect();
            vec![out]
        })
        .await;
    assert_eq!(results, [Committed::Done, Committed::Done]);
    let out = host
        .broker
        .browse("out", &spec().payload, None, 10)
        .await
        .unwrap();
    let mut headers: Vec<_> = out.iter().map(|m| m.headers.len()).collect();
    headers.sort_unstable();
    assert_eq!(headers, [1000, 10_000]);
    assert!(out.iter().all(|m| m.payload.len() == 5 << 20));
    nothing_left(&server).await;
}

#[tokio::test]
async fn publishing_answers_one_result_each_in_order() {
    let server = RedisServer::start().await;
    server.command("SET wrong text").await;
    let host = host(&server.url()).await;
    let mut late = to("out", "later");
    late.message.delay_ms = Some(1000);
    let batch = [to("out", "a"), to("wrong", "b"), late, to("out", "c")];
    let refs: Vec<&Publication> = batch.iter().collect();
    let results = host.broker.publisher().publish(&refs).await;
    assert_eq!(results[0], Ok(()));
    let told = |t: &str| t.contains("WRONGTYPE") && t.contains("; something of another type");
    assert!(matches!(&results[1], Err(PublishError::Destination(t)) if told(t)));
    assert!(matches!(&results[2], Err(PublishError::Message(t)) if t.contains("delay")));
    assert_eq!(results[3], Ok(()));
    let out = host
        .broker
        .browse("out", &spec().payload, None, 10)
        .await
        .unwrap();
    let payloads: Vec<_> = out.iter().map(|m| m.payload.clone()).collect();
    assert_eq!(payloads, ["a", "c"]);
}

#[tokio::test]
async fn a_destination_is_trimmed_to_about_its_length() {
    let server = RedisServer::start().await;
    let host = host(&server.url()).await;
    let mut publication = to("out", "x");
    Arc::get_mut(&mut publication.destination).unwrap().max_len = Some(100);
    let batch = vec![&publication; 1000];
    let results = host.broker.publisher().publish(&batch).await;
    assert!(results.iter().all(Result::is_ok));
    let len = host.broker.len("out").await.unwrap();
    assert!((100..300).contains(&len), "{len}");
}

#[tokio::test]
async fn a_destination_is_trimmed_to_about_its_age() {
    let server = RedisServer::start().await;
    let host = host(&server.url()).await;
    let day = Duration::from_secs(24 * 60 * 60);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let mut pipe = redis::pipe();
    for (age, from) in [(day * 8, 0), (day * 6, 1000)] {
        let ms = (now - age).as_millis();
        for n in 0..1000 {
            let id = format!("{ms}-{}", from + n);
            pipe.cmd("XADD").arg("out").arg(id).arg("payload").arg(n);
        }
    }
    let _ids: Vec<String> = pipe.query_async(&mut server.client().await).await.unwrap();
    let mut publication = to("out", "x");
    Arc::get_mut(&mut publication.destination).unwrap().max_age = Some(day * 7);
    let results = host.broker.publisher().publish(&[&publication]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // Whole nodes of the stream go, of 100 entries each; what is young enough stays.
    let len = host.broker.len("out").await.unwrap();
    assert!((1001..1101).contains(&len), "{len}");
}

#[tokio::test]
async fn publishing_to_an_absent_server_says_so_soon() {
    let server = RedisServer::absent(&[]);
    let host = host(&server.url()).await;
    let publication = to("out", "x");
    let publisher = host.broker.publisher();
    let result = tokio::time::timeout(Duration::from_secs(5), publisher.publish(&[&publication]))
        .await
        .expect("soon");
    assert!(
        matches!(&result[0], Err(PublishError::Destination(_))),
        "{result:?}"
    );
}
