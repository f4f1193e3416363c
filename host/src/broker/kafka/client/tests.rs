use std::time::Duration;

use super::*;
use crate::config::Secret;
use crate::config::kafka::{Mechanism, Property, SecurityProtocol};
use crate::place::PlaceKind;
use crate::ports::PayloadFrom;

fn spec() -> SubscriptionSpec {
    SubscriptionSpec {
        name: "orders-in".into(),
        plugin: "biller".into(),
        kind: PlaceKind::Topic,
        address: "orders".into(),
        group: "billing".into(),
        from_start: false,
        payload: PayloadFrom::Entry,
        ordered: false,
        filters: Vec::new(),
        prefetch: 256,
    }
}

#[test]
fn only_what_the_watermark_allows_is_committed() {
    let client = consumer(&Kafka::new("a:9092"), &spec());
    assert_eq!(client.get("enable.auto.offset.store"), Some("false"));
    assert_eq!(client.get("group.id"), Some("billing"));
    assert_eq!(client.get("auto.offset.reset"), Some("latest"));
    assert_eq!(
        client.get("partition.assignment.strategy"),
        Some("cooperative-sticky")
    );
    assert_eq!(client.get("group.instance.id"), None);
}

#[test]
fn an_output_is_confirmed_by_all_and_written_once() {
    let client = producer(&Kafka::new("a:9092"));
    assert_eq!(client.get("acks"), Some("all"));
    assert_eq!(client.get("enable.idempotence"), Some("true"));
    assert_eq!(client.get("partitioner"), Some("murmur2_random"));
}

#[test]
fn the_new_protocol_leaves_sessions_and_assignment_to_the_servers() {
    let mut kafka = Kafka::new("a:9092");
    kafka.group_protocol = GroupProtocol::Consumer;
    let client = consumer(&kafka, &spec());
    assert_eq!(client.get("group.protocol"), Some("consumer"));
    assert_eq!(client.get("session.timeout.ms"), None);
    assert_eq!(client.get("partition.assignment.strategy"), None);
}

#[test]
fn a_host_has_one_name_per_subscription() {
    let mut kafka = Kafka::new("a:9092");
    kafka.instance_id = Some("wharf-0".into());
    kafka.session_timeout = Some(Duration::from_secs(6));
    let client = consumer(&kafka, &spec());
    let id = client.get("group.instance.id");
    assert_eq!(id, Some("wharf-0.biller.orders-in"));
    assert_eq!(client.get("session.timeout.ms"), Some("6000"));
    assert_eq!(client.get("heartbeat.interval.ms"), Some("2000"));
}

#[test]
fn properties_go_through_and_keys_of_ours_win() {
    let mut kafka = Kafka::new("a:9092");
    let mut set = |name: &str, value: &str| {
        kafka.properties.insert(name.into(), Property(value.into()));
    };
    set("fetch.min.bytes", "7");
    set("fetch.wait.max.ms", "3");
    set("bootstrap.servers", "evil:1");
    let client = consumer(&kafka, &spec());
    assert_eq!(client.get("fetch.min.bytes"), Some("7"));
    assert_eq!(
        client.get("fetch.wait.max.ms"),
        Some("3"),
        "a default of ours gives way"
    );
    assert_eq!(client.get("bootstrap.servers"), Some("a:9092"));
}

#[test]
fn who_we_are() {
    let mut kafka = Kafka::new("a:9092");
    kafka.security.protocol = SecurityProtocol::SaslSsl;
    kafka.security.mechanism = Some(Mechanism::ScramSha512);
    kafka.security.username = Some("u".into());
    kafka.security.password = Some(Secret::new("hunter2"));
    kafka.security.ca = Some("ca.pem".into());
    let client = producer(&kafka);
    assert_eq!(client.get("security.protocol"), Some("sasl_ssl"));
    assert_eq!(client.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
    assert_eq!(client.get("sasl.password"), Some("hunter2"));
    assert_eq!(client.get("ssl.ca.location"), Some("ca.pem"));
}
