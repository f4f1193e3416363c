//! What is settled is committed, what is not comes again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use wharf::config::kafka::{GroupProtocol, Kafka};
use wharf::message::{Header, Outgoing};
use wharf::ports::{Lag, SubscriptionSpec};

use crate::ground::Ground;
use crate::support::*;

/// Long enough for a member to join and for a message that is there to come.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was() {
    let ground = Ground::new("restart", 3).await;
    let mut first = ground.host().await;
    ground.fill(&first.broker, 0..1000).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 1000 {
        let some = first.take(50).await;
        for id in first.accept(some).await {
            assert!(seen.insert(id), "twice");
        }
    }
    first.stop().await;
    assert_eq!(ground.lag().await, 0);

    let mut second = ground.host().await;
    ground.fill(&second.broker, 1000..1010).await;
    let new = second.take(10).await;
    let mut ids = second.accept(new).await;
    ids.sort();
    let expected: Vec<String> = (1000..1010).map(|n| format!("m{n}")).collect();
    assert_eq!(ids, expected);
    second.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_delivery_comes_again_and_its_neighbours_do_not() {
    let ground = Ground::new("dropped", 1).await;
    let mut host = ground.host().await;
    ground.fill(&host.broker, 0..5).await;
    let mut five = host.take(5).await;
    let dropped = five.remove(1);
    let id = dropped.message().id.clone();
    let later = five.split_off(2);
    host.accept(later).await;
    let (_, results) = host.release(vec![dropped], 0).await;
    assert_eq!(results, [Ok(())]);
    let again = host.take(1).await;
    assert_eq!(again[0].message().id, id);
    host.accept(again).await;
    host.accept(five).await;
    assert!(
        host.take_within(QUIET).await.is_empty(),
        "nothing else came again"
    );
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_settled_at_the_end_comes_to_the_next() {
    let ground = Ground::new("unsettled", 1).await;
    let mut first = ground.host().await;
    ground.fill(&first.broker, 0..4).await;
    let mut four = first.take(4).await;
    let last = four.split_off(2);
    first.accept(four).await;
    // Neither accepted nor released: as if the process had died with them.
    first.leave().await;
    drop(last);
    assert_eq!(ground.lag().await, 2);
    let mut second = ground.host().await;
    let again = second.take(2).await;
    assert_eq!(second.accept(again).await, ["m2", "m3"]);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_outlive_the_host_at_an_offset_that_stands_still() {
    let ground = Ground::new("attempts", 1).await;
    let mut first = ground.host().await;
    ground.fill(&first.broker, 0..3).await;
    let three = first.take(3).await;
    // Nothing is settled: the offset stays where it is.
    first.source.stop().await;
    let (_, results) = first.release(three, 2).await;
    assert!(results.iter().all(Result::is_ok));
    // A settlement after the stop is committed already.
    first.leave().await;

    let mut second = ground.host().await;
    let again = second.take(3).await;
    for delivery in &again {
        let message = delivery.message();
        assert_eq!(message.attempts, 2, "{}", message.id);
        assert_eq!(message.first_failed_ms, Some(1_786_000_000_000));
    }
    second.accept(again).await;
    second.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_begins_at_the_end_skips_nothing_after_that() {
    let ground = Ground::new("latest", 1).await;
    let late = || SubscriptionSpec {
        from_start: false,
        ..ground.spec()
    };
    let outside = ground.broker();
    ground.fill(&outside, 0..1).await;
    let first = ground.host_with(late()).await;
    first.is_member().await;
    // It goes before anything came, and something comes before the next.
    first.leave().await;
    ground.fill(&outside, 1..2).await;
    let mut second = ground.host_with(late()).await;
    let came = second.take(1).await;
    assert_eq!(second.accept(came).await, ["m1"]);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_what_kafka_says() {
    let ground = Ground::new("lag", 2).await;
    let mut host = ground.host().await;
    ground.fill(&host.broker, 0..10).await;
    let mut some = host.take(4).await;
    let lag = |waiting, pending| Lag { waiting, pending };
    host.lag_is(lag(6, 4)).await;
    let rest = some.split_off(2);
    host.accept(some).await;
    host.lag_is(lag(6, 2)).await;
    some = host.take(6).await;
    host.accept(some).await;
    host.accept(rest).await;
    host.lag_is(lag(0, 0)).await;
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_a_delay_waits_alone_and_its_attempts_stand_at_kafka() {
    let ground = Ground::new("delayed", 1).await;
    let mut host = ground.host().await;
    ground.fill(&host.broker, 0..2).await;
    let mut both = host.take(2).await;
    let second = both.split_off(1);
    let began = Instant::now();
    host.retry(both, 1, Duration::from_secs(2)).await;
    host.accept(second).await;
    ground.fill(&host.broker, 2..3).await;
    let newer = host.take(1).await;
    assert_eq!(host.accept(newer).await, ["m2"], "others go on meanwhile");
    // As after `kill -9`: whoever asks Kafka now finds the attempt.
    ground.text_is(|text| text.contains(" 0:1")).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    let again = host.take(1).await;
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(again[0].message().attempts, 1);
    assert_eq!(host.accept(again).await, ["m0"]);
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_order_is_promised_what_is_released_comes_before_what_is_newer() {
    let ground = Ground::new("ordered", 1).await;
    let ordered = SubscriptionSpec {
        ordered: true,
        ..ground.spec()
    };
    let mut host = ground.host_with(ordered).await;
    ground.fill(&host.broker, 0..6).await;
    let three = host.take(3).await;
    host.release(three, 0).await;
    let six = host.take(6).await;
    assert_eq!(host.accept(six).await, ["m0", "m1", "m2", "m3", "m4", "m5"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_its_hosts_stands_alone_and_is_counted() {
    let ground = Ground::new("killer", 1).await;
    let writer = ground.broker();
    ground.fill(&writer, 0..3).await;
    // What the fifth of five hosts that died left behind.
    ground.commit(0, "wharf1 ~5").await;
    let mut host = ground.host().await;
    let alone = host.take_within(PATIENCE).await;
    assert_eq!(alone.len(), 1);
    assert_eq!(alone[0].message().deliveries, 4);
    ground.text_is(|text| text == "wharf1 ~6").await;
    host.accept(alone).await;
    let next = host.take(1).await;
    assert_eq!(next[0].message().deliveries, 1, "it is not to blame");
    assert!(
        host.take_within(QUIET / 3).await.is_empty(),
        "one at a time"
    );
    host.accept(next).await;
    let last = host.take(1).await;
    host.accept(last).await;
    host.stop().await;
    // Left in order: nobody is to blame any more.
    ground.text_is(str::is_empty).await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_reads_topics_that_are_made_later() {
    let ground = Ground::new("many.first", 1).await;
    let pattern = SubscriptionSpec {
        address: r"^many\.[a-z]+$".into(),
        ..ground.spec()
    };
    let mut host = ground.host_with(pattern).await;
    host.is_member().await;
    ground.make("many.second", 2).await;
    for topic in ["many.first", "many.second"] {
        for result in publish(&host.broker, topic, [numbered(1)]).await {
            result.expect("published");
        }
    }
    let both = host.take(2).await;
    let mut topics: Vec<_> = both.iter().map(|d| d.message().topic.to_string()).collect();
    topics.sort();
    assert_eq!(topics, ["many.first", "many.second"]);
    host.accept(both).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_group_protocol_reads_settles_and_goes_on_too() {
    let ground = Ground::new("kip-848", 4).await;
    let kafka = Kafka {
        group_protocol: GroupProtocol::Consumer,
        ..ground.kafka()
    };
    let mut first = host_of(&kafka, ground.spec()).await;
    ground.fill(&first.broker, 0..100).await;
    let mut hundred = first.take(100).await;
    let class = "consumer.group.ConsumerGroupCommand";
    let words = ["--list", "--type", "consumer"];
    let groups = ground.server.tool(class, &words, "").await;
    assert!(
        groups.contains(&ground.group),
        "to the server too: {groups}"
    );
    let rest = hundred.split_off(60);
    first.accept(hundred).await;
    first.release(rest, 1).await;
    first.stop().await;
    let mut second = host_of(&kafka, ground.spec()).await;
    let lag = usize::try_from(ground.lag().await).expect("positive");
    assert!((40..100).contains(&lag), "{lag}");
    let rest = second.take(lag).await;
    assert!(rest.iter().any(|d| d.message().attempts == 1));
    second.accept(rest).await;
    second.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_kafkas_own_producer_are_read_and_its_consumer_reads_ours() {
    let ground = Ground::new("java", 1).await;
    let topic = &*ground.topic;
    let words = [
        "--topic",
        topic,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
    ];
    let record = "content-type:text/plain,colour:red,colour:blue\tkey-1\tcafé\n";
    ground.server.tool("ConsoleProducer", &words, record).await;
    let mut host = ground.host().await;
    let one = host.take(1).await;
    let message = one[0].message();
    assert_eq!(message.payload, "café".as_bytes());
    assert_eq!(message.key.as_deref(), Some(&b"key-1"[..]));
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
    let headers: Vec<_> = message
        .headers
        .iter()
        .map(|h| (&*h.name, &h.value[..]))
        .collect();
    assert_eq!(headers, [("colour", &b"red"[..]), ("colour", b"blue")]);
    assert!(message.timestamp_ms > 1_700_000_000_000);
    host.accept(one).await;
    let ours = Outgoing {
        id: Some("mine".into()),
        key: Some("k".into()),
        payload: "from wharf".into(),
        headers: vec![Header::text("a", "1")],
        ..Outgoing::default()
    };
    let published = publish(&host.broker, topic, [ours]).await;
    assert_eq!(published, [Ok(())]);
    let one = host.take(1).await;
    host.stop().await;
    drop(one);
    let words = [
        "--topic",
        topic,
        "--partition",
        "0",
        "--offset",
        "1",
        "--max-messages",
        "1",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.headers=true",
    ];
    let class = "consumer.ConsoleConsumer";
    let read = ground.server.tool(class, &words, "").await;
    assert_eq!(read.trim_end(), "wharf-id:mine,a:1\tk\tfrom wharf");
    // And to Kafka's own tool the record that was not settled is the only lag.
    let group = ground.server.group(&ground.group).await;
    assert_eq!(group, [(ground.topic.clone(), 0, 1, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_behind_a_message_that_waits_is_not_repeated_after_a_stop() {
    let ground = Ground::new("behind", 1).await;
    let mut first = ground.host().await;
    ground.fill(&first.broker, 0..20).await;
    let mut twenty = first.take(20).await;
    let rest = twenty.split_off(12);
    let mut waits = twenty.split_off(3);
    let behind = waits.split_off(1);
    first.accept(twenty).await;
    first.retry(waits, 1, Duration::from_secs(600)).await;
    first.accept(behind).await;
    first.source.stop().await;
    // As at the end of a drain: what was not begun goes back.
    first.release(rest, 0).await;
    first.leave().await;
    assert_eq!(ground.lag().await, 17, "the offset stands before m3");
    ground.text_is(|text| text == "wharf1 =4+8 3:1").await;

    let mut second = ground.host().await;
    let again = second.take(9).await;
    assert_eq!(again[0].message().attempts, 1);
    let mut expected = vec!["m3".to_owned()];
    expected.extend((12..20).map(|n| format!("m{n}")));
    assert_eq!(second.accept(again).await, expected);
    assert!(second.take_within(QUIET).await.is_empty(), "and no more");
    second.stop().await;
    ground.text_is(str::is_empty).await;
    assert_eq!(ground.lag().await, 0);
}
