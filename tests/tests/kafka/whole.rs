//! The real program on a real Kafka: `type: kafka` in a configuration, messages in, everything counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use wharf::message::{Header, Message, Outgoing};
use wharf_tests::host::{Host, Place, eventually};

use crate::ground::Ground;
use crate::support::*;
use crate::worker::{Seen, check_order, until_seen};

/// Plugin `p` from the ground's topic to its `out`, all of its topics declared; `more` are further keys of it.
fn config(ground: &Ground, more: &str) -> String {
    let (topic, group, servers) = (&ground.topic, &ground.group, ground.server.bootstrap());
    format!(
        "brokers:\n  bus:\n    type: kafka\n    bootstrap_servers: \"{servers}\"\n    session_timeout: 1s\n    \
         declare: {{ {topic}.out: {{ partitions: 2 }}, dlq.in.{topic}: {{}}, retry.in.{topic}: {{}} }}\n\
         plugins:\n  {topic}:\n    component: puppet.wasm\n    \
         subscribe: {{ in: {{ broker: bus, topic: {topic}, group: {group} }} }}\n    \
         publish: {{ out: {{ broker: bus, topic: {topic}.out }} }}\n{more}"
    )
}

fn place(ground: &Ground, more: &str) -> Place {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&config(ground, more));
    place
}

/// Everything in a topic.
async fn all_of(ground: &Ground, topic: String) -> Vec<Message> {
    let broker = ground.broker();
    let read = move || {
        let mut reader = broker.reader(&topic).expect("a reader");
        reader.next(usize::MAX).expect("read")
    };
    tokio::task::spawn_blocking(read).await.expect("read")
}

impl Ground {
    async fn outputs(&self) -> Vec<Message> {
        all_of(self, format!("{}.out", self.topic)).await
    }

    async fn letters(&self) -> Vec<Message> {
        all_of(self, format!("dlq.in.{}", self.topic)).await
    }

    async fn until_outputs(&self, count: usize) -> Vec<Message> {
        let what = format!("{count} outputs");
        eventually(&what, PATIENCE, async || {
            let outputs = self.outputs().await;
            (outputs.len() >= count).then_some(outputs)
        })
        .await
    }

    async fn publish(&self, messages: Vec<Outgoing>) {
        for result in publish(&self.broker(), &self.topic, messages).await {
            result.expect("published");
        }
    }

    /// Nothing is before the group, as Kafka sees it.
    async fn until_settled(&self) {
        eventually("no lag", PATIENCE, async || {
            (self.lag().await == 0).then_some(())
        })
        .await;
    }
}

async fn stopped(mut host: Host) {
    host.signal("TERM");
    let status = host.exit(PATIENCE).await;
    assert!(status.success(), "every settlement was confirmed: {status}");
}

fn order(id: usize, key: usize, text: String) -> Outgoing {
    Outgoing {
        id: Some(format!("m-{id}").into()),
        key: Some(Bytes::from(format!("k{key}"))),
        payload: text.into(),
        ..Outgoing::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_killed_lose_nothing_and_what_is_left_stops_without_lag() {
    const ALL: usize = 1200;
    let ground = Ground::new("killed", 4).await;
    let retry = "    retry: { max_retries: 1, initial_interval: 20ms, max_interval: 20ms }\n";
    let (here, there) = (place(&ground, retry), place(&ground, retry));
    let (first, second) = (here.run().await, there.run().await);
    let message = |i: usize| match i {
        _ if i % 50 == 7 => order(i, i, r#"{"do":"reject"}"#.into()),
        _ if i % 37 == 5 => {
            let text = r#"{"do":"retry-until","attempt":2,"outputs":[{}]}"#;
            order(i, i, text.into())
        }
        _ => order(i, i, format!("message {i}")),
    };
    ground.publish((0..ALL / 2).map(message).collect()).await;
    ground.until_outputs(ALL / 8).await;
    first.kill();
    ground.publish((ALL / 2..ALL).map(message).collect()).await;
    let third = here.run().await;
    ground.until_outputs(ALL / 2).await;
    second.kill();
    ground.until_settled().await;
    stopped(third).await;

    assert_eq!(ground.lag().await, 0);
    let mut ended: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for output in ground.outputs().await {
        let id = output.id.rsplit_once(&format!("/{}/0", ground.topic));
        ended
            .entry(id.expect("an output of ours").0.into())
            .or_default()
            .0 += 1;
    }
    for letter in ground.letters().await {
        ended.entry(letter.id.to_string()).or_default().1 += 1;
    }
    let mut repeats = 0;
    for i in 0..ALL {
        let (outputs, letters) = ended.remove(&format!("m-{i}")).unwrap_or_default();
        let rejected = i % 50 == 7;
        assert_eq!((outputs > 0, letters > 0), (!rejected, rejected), "m-{i}");
        repeats += outputs + letters - 1;
    }
    assert!(ended.is_empty(), "nobody published {ended:?}");
    assert!(
        repeats <= 2 * 4 * 1000,
        "a window of each partition for each kill"
    );
}

/// Not a second's worth, which is how often the client commits by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_full_speed_repeats_at_most_a_window() {
    const ALL: usize = 30_000;
    const WINDOW: usize = 1_000;
    let ground = Ground::new("speed", 1).await;
    let place = place(&ground, "");
    let message = |i: usize| order(i, i, format!("message {i}"));
    ground.publish((0..ALL).map(message).collect()).await;
    let host = place.run().await;
    eventually("it is at full speed", PATIENCE, async || {
        let ran = host.metric("wharf_attempts_total", &[]).await;
        ran.filter(|ran| *ran >= 10_000.0)
    })
    .await;
    host.kill();
    let next = place.run().await;
    ground.until_settled().await;
    stopped(next).await;

    let outputs = ground.outputs().await;
    let ids: BTreeSet<&str> = outputs.iter().map(|output| &*output.id).collect();
    assert_eq!(ids.len(), ALL);
    let repeats = outputs.len() - ids.len();
    println!("{repeats} repeated");
    assert!(repeats <= WINDOW, "{repeats} were done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_kept_when_the_host_is_killed() {
    let ground = Ground::new("kept", 1).await;
    let retry = "    retry: { max_retries: 3, initial_interval: 3s, randomization_factor: 0 }\n";
    let place = place(&ground, retry);
    let host = place.run().await;
    let outputs = r#"{"do":"retry-until","attempt":2,"outputs":[{"payload":"second"}]}"#;
    ground.publish(vec![order(0, 0, outputs.into())]).await;
    ground.text_is(|text| text.contains(" 0:1@")).await;
    host.kill();
    let host = place.run().await;
    let outputs = ground.until_outputs(1).await;
    assert_eq!(
        outputs[0].payload, "second",
        "the first attempt was not forgotten"
    );
    ground.until_settled().await;
    stopped(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_through_retries_and_a_change_of_hosts() {
    const ALL: usize = 400;
    let ground = Ground::new("keys", 3).await;
    let more = "    order: key\n    retry: { max_retries: 2, initial_interval: 10ms, max_interval: 10ms }\n";
    let (here, there) = (place(&ground, more), place(&ground, more));
    let first = here.run().await;
    let message = |i: usize| {
        let again = if i % 23 == 3 { 2 } else { 1 };
        let text = format!(
            r#"{{"do":"retry-until","attempt":{again},"outputs":[{{"payload":"{i}","key":"k{}"}}]}}"#,
            i % 7
        );
        order(i, i % 7, text)
    };
    ground.publish((0..ALL / 2).map(message).collect()).await;
    ground.until_outputs(20).await;
    let second = there.run().await;
    ground.publish((ALL / 2..ALL).map(message).collect()).await;
    ground.until_outputs(ALL / 2).await;
    stopped(first).await;
    ground.until_settled().await;
    stopped(second).await;
    // Outputs of a key are in one partition, in the order they were published there.
    let seen = Seen::default();
    for output in ground.outputs().await {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let number = text(&output.payload).parse().expect("a number");
        let key = text(output.key.as_deref().expect("a key"));
        seen.lock().push((key, number));
    }
    until_seen(&seen, ALL).await;
    assert_eq!(check_order(&seen), 0, "nobody was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_the_message_byte_for_byte_and_is_seen_and_sent_back() {
    let ground = Ground::new("letters", 1).await;
    let place = place(&ground, "    retry: { max_retries: 0 }\n");
    let host = place.run().await;
    let text = r#"{"do":"retry-until","attempt":9}"#;
    let message = Outgoing {
        headers: vec![
            Header {
                name: "bytes".into(),
                value: Bytes::from_static(b"\xff\x00\xfe"),
            },
            Header::text("again", "1"),
            Header::text("again", "2"),
        ],
        key: Some(Bytes::from_static(b"\x00\xff")),
        correlation_id: Some("c-1".into()),
        ..order(0, 0, text.into())
    };
    ground.publish(vec![message.clone()]).await;
    let letters = eventually("a dead letter", PATIENCE, async || {
        let letters = ground.letters().await;
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    let letter = &letters[0];
    assert_eq!((&*letter.id, &letter.key), ("m-0", &message.key));
    assert_eq!(letter.payload, message.payload);
    assert_eq!(letter.correlation_id, message.correlation_id);
    assert_eq!(letter.headers[..3], message.headers[..]);
    let header = |name: &str| {
        letter
            .header(name)
            .map(|v| String::from_utf8_lossy(v).into_owned())
    };
    assert_eq!(header("wharf-cause").as_deref(), Some("exhausted"));
    assert_eq!(header("__dlq.errors.topic"), Some(ground.topic.clone()));
    assert_eq!(header("__dlq.errors.partition").as_deref(), Some("0"));
    assert_eq!(header("__dlq.errors.offset").as_deref(), Some("0"));
    assert_eq!(header("__dlq.errors.group"), Some(ground.group.clone()));

    let subscription = format!("{}/in", ground.topic);
    let shown = place.wharf(&["dlq", "list", "--json"]);
    assert!(shown.contains(r#""exhausted":1"#), "{shown}");
    let shown = place.wharf(&["dlq", "show", &subscription, "--json"]);
    assert!(
        shown.contains("exhausted") && shown.contains("m-0"),
        "{shown}"
    );
    let (code, said) = place.try_wharf(&["dlq", "purge", &subscription, "--yes"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot delete single records"), "{said}");
    let sent = place.wharf(&["dlq", "redrive", &subscription, "--all"]);
    assert!(sent.contains("stay in"), "{sent}");
    let letters = eventually("it failed again", PATIENCE, async || {
        let letters = ground.letters().await;
        (letters.len() > 1).then_some(letters)
    })
    .await;
    let again = &letters[1];
    assert_eq!(
        again.header("wharf-redrives").map(|v| &v[..]),
        Some(&b"1"[..])
    );
    assert_eq!(again.payload, message.payload);
    stopped(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_kafka_is_seen_from_outside() {
    let ground = Ground::new("seen", 1).await;
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let servers = ground.server.bootstrap();
    place.configure(&format!(
        "brokers: {{ bus: {{ type: kafka, bootstrap_servers: \"{servers}\" }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: bus, topic: seen, group: g-seen }} }}\n    \
         publish: {{ out: {{ broker: bus, topic: never-made }} }}\n"
    ));
    let host = place.run().await;
    let ready = async |wanted: u16| {
        eventually("readiness", PATIENCE, async || {
            let (status, body) = host.get("/readyz").await;
            (status == wanted).then_some(body)
        })
        .await
    };
    ready(200).await;
    let _published = place.wharf(&["publish", "--to", "p/in", "--payload", "one"]);
    let body = ready(503).await;
    assert!(
        body.contains("never-made") && body.contains("declare"),
        "{body}"
    );
    let paused = host.metric("wharf_paused", &["plugin=\"p\""]).await;
    assert_eq!(paused, Some(1.0), "held, and visibly so");
    // Somebody makes it: what was held is published, and nothing ran twice.
    ground.make("never-made", 1).await;
    ready(200).await;
    let outputs = all_of(&ground, "never-made".into()).await;
    assert_eq!(outputs.len(), 1);
    let tail = place.wharf(&["tail", "bus", "never-made", "--from-start", "--json"]);
    assert!(
        tail.contains(r#""position":"0/0""#) && tail.contains("one"),
        "{tail}"
    );
    eventually("no lag", PATIENCE, async || {
        let lag = host.metric("wharf_lag_messages", &["plugin=\"p\""]).await;
        (lag == Some(0.0)).then_some(())
    })
    .await;
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_over_the_limit_is_the_messages_fault() {
    let ground = Ground::new("limit", 1).await;
    let place = place(&ground, "    limits: { output: 8MiB }\n");
    let host = place.run().await;
    let large = r#"{"do":"accept","outputs":[{"size":3000000}]}"#;
    ground.publish(vec![order(0, 0, large.into())]).await;
    let letters = eventually("a dead letter", Duration::from_secs(30), async || {
        let letters = ground.letters().await;
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    let header = |name: &str| {
        letters[0]
            .header(name)
            .map(|v| String::from_utf8_lossy(v).into_owned())
    };
    assert_eq!(header("wharf-cause").as_deref(), Some("undeliverable"));
    let said = header("__dlq.errors.message").expect("a reason");
    assert!(said.contains("max.message.bytes"), "{said}");
    ground.until_settled().await;
    stopped(host).await;
}
