use serde_json::json;

use super::*;

fn read(json: serde_json::Value) -> Result<Kafka, String> {
    serde_json::from_value(json).map_err(|e| e.to_string())
}

#[test]
fn an_address_is_enough() {
    let written = json!({ "bootstrap_servers": "a:9092,b:9092" });
    assert_eq!(read(written).unwrap(), Kafka::new("a:9092,b:9092"));
    assert!(read(json!({})).unwrap_err().contains("bootstrap_servers"));
}

#[test]
fn everything_is_read() {
    let kafka = read(json!({
        "bootstrap_servers": "a:9092",
        "group_protocol": "consumer",
        "instance_id": "wharf-0",
        "session_timeout": "10s",
        "security": {
            "protocol": "sasl_ssl",
            "mechanism": "SCRAM-SHA-512",
            "username": "u",
            "password": "hunter2",
            "ca": "ca.pem",
        },
        "compression": "zstd",
        "partitioner": "consistent_random",
        "linger": "5ms",
        "delivery_timeout": "1m",
        "properties": { "fetch.min.bytes": 1, "socket.keepalive.enable": true, "client.rack": "a" },
        "declare": { "orders": {
            "partitions": 6, "replication": 3, "retention": "7d", "retention_bytes": "1GiB",
            "cleanup": "compact_delete", "properties": { "min.cleanable.dirty.ratio": 0.5 },
        } },
    }))
    .unwrap();
    assert_eq!(kafka.group_protocol, GroupProtocol::Consumer);
    assert_eq!(kafka.session_timeout, Some(Duration::from_secs(10)));
    assert_eq!(
        kafka.security.mechanism.map(Mechanism::as_str),
        Some("SCRAM-SHA-512")
    );
    assert!(kafka.security.protocol.is_sasl());
    assert_eq!(kafka.partitioner.as_str(), "consistent_random");
    let text = |name: &str| kafka.properties[name].0.as_str();
    assert_eq!(
        (
            text("fetch.min.bytes"),
            text("socket.keepalive.enable"),
            text("client.rack")
        ),
        ("1", "true", "a")
    );
    let orders = &kafka.declare["orders"];
    assert_eq!((orders.partitions, orders.replication), (6, Some(3)));
    assert_eq!(orders.retention, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(orders.cleanup.as_str(), "compact,delete");
    assert_eq!(orders.properties["min.cleanable.dirty.ratio"].0, "0.5");
    assert!(!format!("{kafka:?}").contains("hunter2"));
}

#[test]
fn the_words_of_the_client_are_those_of_the_file() {
    fn word(value: impl Serialize) -> String {
        serde_json::to_value(value)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }
    for one in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        assert_eq!(word(one), one.as_str());
    }
    for one in [
        Partitioner::Murmur2Random,
        Partitioner::ConsistentRandom,
        Partitioner::Fnv1aRandom,
    ] {
        assert_eq!(word(one), one.as_str());
    }
    for one in [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ] {
        assert_eq!(word(one), one.as_str());
    }
    for one in [
        Mechanism::Plain,
        Mechanism::ScramSha256,
        Mechanism::ScramSha512,
    ] {
        assert_eq!(word(one), one.as_str());
    }
}

#[test]
fn an_empty_declaration_is_the_default_one() {
    let kafka = read(json!({ "bootstrap_servers": "a", "declare": { "t": {} } })).unwrap();
    assert_eq!(kafka.declare["t"], Topic::default());
}

#[test]
fn what_the_guarantees_rest_on_is_refused_under_both_of_its_names() {
    for name in [
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "group.id",
        "acks",
        "request.required.acks",
        "enable.idempotence",
        "transactional.id",
        "sasl.password",
        "enable.ssl.certificate.verification",
        "ssl.endpoint.identification.algorithm",
        "plugin.library.paths",
        "error_cb",
        "rebalance_cb",
        "opaque",
    ] {
        assert!(Kafka::refusal(name).is_some(), "{name}");
    }
    for name in [
        "client.id",
        "fetch.min.bytes",
        "isolation.level",
        "broker.address.family",
    ] {
        assert_eq!(Kafka::refusal(name), None, "{name}");
    }
}

#[test]
fn nobody_is_sent_to_a_key_that_is_not_there() {
    for name in [
        "enable.ssl.certificate.verification",
        "ssl.endpoint.identification.algorithm",
    ] {
        let reason = Kafka::refusal(name).unwrap();
        assert!(reason.contains("always verified"), "{name}: {reason}");
    }
}

#[test]
fn no_name_is_refused_twice() {
    let mut names: Vec<&str> = refused::REFUSED
        .iter()
        .flat_map(|(names, _)| *names)
        .copied()
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
