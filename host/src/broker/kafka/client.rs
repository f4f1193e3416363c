//! From our configuration to that of the client.
//!
//! Three layers, each of which the next may override: defaults that suit the host, the `properties` of the
//! configuration, and what the host relies on.

use std::time::Duration;

use rdkafka::ClientConfig;

use super::statistics;
use crate::config::kafka::{GroupProtocol, Kafka};
use crate::ports::SubscriptionSpec;

/// How often a member of a group says that it lives, at least; the client's own value.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How a member of a group is set up.
pub(super) fn consumer(kafka: &Kafka, spec: &SubscriptionSpec) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        // The client's own: 100,000 messages of each partition fetched ahead, and a second of rest each time they are there.
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "100")
        // So that a topic that is made later is found soon.
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("auto.commit.interval.ms", "1000");
    common(&mut client, kafka);
    let start = if spec.from_start {
        "earliest"
    } else {
        "latest"
    };
    client
        .set("group.id", &*spec.group)
        // Only what the watermark allows is ever stored, and what is stored is committed by and by.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "true")
        .set("auto.offset.reset", start)
        .set("enable.partition.eof", "false")
        .set("statistics.interval.ms", statistics::EVERY);
    match kafka.group_protocol {
        GroupProtocol::Classic => {
            client.set("partition.assignment.strategy", "cooperative-sticky");
            if let Some(session) = kafka.session_timeout {
                client.set("session.timeout.ms", session.as_millis().to_string());
                let beat = (session / 3).min(HEARTBEAT);
                client.set("heartbeat.interval.ms", beat.as_millis().to_string());
            }
        }
        GroupProtocol::Consumer => {
            client.set("group.protocol", "consumer");
        }
    }
    if let Some(id) = &kafka.instance_id {
        // One host may be in a group more than once, by several subscriptions.
        client.set(
            "group.instance.id",
            format!("{id}.{}.{}", spec.plugin, spec.name),
        );
    }
    client
}

/// How outputs are produced.
pub(super) fn producer(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    // A topic that is missing is reported soon, and not only when an output has waited for all of its time.
    client.set("topic.metadata.propagation.max.ms", "3000");
    common(&mut client, kafka);
    client
        .set("statistics.interval.ms", statistics::EVERY)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", kafka.compression.as_str())
        .set("partitioner", kafka.partitioner.as_str())
        .set("linger.ms", kafka.linger.as_millis().to_string())
        .set(
            "delivery.timeout.ms",
            kafka.delivery_timeout.as_millis().to_string(),
        );
    client
}

/// How topics are made.
pub(super) fn admin(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    common(&mut client, kafka);
    client
}

/// A client that reads and leaves no trace: it has the name of a group, as it must, and never joins it.
pub(super) fn reader(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "100");
    common(&mut client, kafka);
    client
        .set("group.id", "wharf-reader")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true");
    client
}

fn common(client: &mut ClientConfig, kafka: &Kafka) {
    client
        .set("client.id", "wharf")
        // A server that comes back is found again within a second, not within ten.
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000");
    for (name, value) in &kafka.properties {
        client.set(name, &value.0);
    }
    client.set("bootstrap.servers", &kafka.bootstrap_servers);
    let security = &kafka.security;
    client.set("security.protocol", security.protocol.as_str());
    let texts = [
        ("sasl.mechanism", security.mechanism.map(|m| m.as_str())),
        ("sasl.username", security.username.as_deref()),
        (
            "sasl.password",
            security.password.as_ref().map(|s| s.expose()),
        ),
        (
            "ssl.key.password",
            security.key_password.as_ref().map(|s| s.expose()),
        ),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            client.set(name, value);
        }
    }
    let paths = [
        ("ssl.ca.location", &security.ca),
        ("ssl.certificate.location", &security.certificate),
        ("ssl.key.location", &security.key),
    ];
    for (name, path) in paths {
        if let Some(path) = path {
            client.set(name, path.to_string_lossy());
        }
    }
}

#[cfg(test)]
mod tests;
