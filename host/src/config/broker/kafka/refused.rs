//! What is not taken: settings that would break a promise, and names no server would take.

use super::Kafka;

impl Kafka {
    /// Why a name is not taken in `properties`, and what to do instead.
    #[must_use]
    pub fn refusal(property: &str) -> Option<&'static str> {
        let found = REFUSED.iter().find(|(names, _)| names.contains(&property));
        found.map(|(_, reason)| *reason).or_else(|| {
            let callback = property.ends_with("_cb") || property == "opaque";
            callback.then_some("it is not a setting but a function of the program")
        })
    }
}

/// The longest name a topic may have.
const TOPIC: usize = 249;

/// What is wrong with the name of a topic. A server is not asked about one that no server would take.
#[must_use]
pub fn topic_problem(name: &str) -> Option<&'static str> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match name {
        "" => Some("the name of the topic is empty"),
        "." | ".." => Some("a topic cannot be called `.` or `..`"),
        _ if name.len() > TOPIC => Some("the name of a topic has at most 249 characters"),
        _ if !name.bytes().all(legal) => Some(
            "the name of a topic has only the letters a to z, A to Z, digits, `.`, `_` and `-`",
        ),
        _ => None,
    }
}

/// What `properties` may not hold, and why. The client has two names for some of them.
pub(super) const REFUSED: [(&[&str], &str); 16] = [
    (
        &["bootstrap.servers", "metadata.broker.list"],
        "use `bootstrap_servers`",
    ),
    (
        &["group.id"],
        "use `group` of the subscription; without it, it is the plugin's name",
    ),
    (&["group.instance.id"], "use `instance_id`"),
    (
        &[
            "group.protocol",
            "partition.assignment.strategy",
            "group.remote.assignor",
            "group.protocol.type",
        ],
        "use `group_protocol`; the host is written for cooperative assignment",
    ),
    (&["session.timeout.ms"], "use `session_timeout`"),
    (
        &[
            "enable.auto.commit",
            "enable.auto.offset.store",
            "auto.commit.enable",
            "offset.store.method",
        ],
        "the host commits what is settled; anything else would lose messages",
    ),
    (
        &["auto.commit.interval.ms"],
        "the host commits at least once a second; later, a crash would repeat more, and `0` is never",
    ),
    (&["auto.offset.reset"], "use `start` of the subscription"),
    (
        &["enable.partition.eof", "statistics.interval.ms"],
        "the host sets it for itself",
    ),
    (
        &[
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "enable.gapless.guarantee",
            "transactional.id",
        ],
        "an output counts as published when all in-sync replicas have it, once; this cannot be changed",
    ),
    (
        &[
            "security.protocol",
            "sasl.mechanism",
            "sasl.mechanisms",
            "sasl.username",
            "sasl.password",
            "ssl.ca.location",
            "ssl.certificate.location",
            "ssl.key.location",
            "ssl.key.password",
        ],
        "use `security`, which keeps secrets out of sight",
    ),
    (
        &[
            "enable.ssl.certificate.verification",
            "ssl.endpoint.identification.algorithm",
        ],
        "certificates and the names in them are always verified; `ca` of `security` says who is trusted",
    ),
    (
        &[
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "ssl.key.pem",
            "ssl.keystore.password",
        ],
        "it would hold a secret in plain sight",
    ),
    (
        &["compression.type", "compression.codec"],
        "use `compression`",
    ),
    (
        &[
            "partitioner",
            "linger.ms",
            "queue.buffering.max.ms",
            "delivery.timeout.ms",
            "message.timeout.ms",
        ],
        "use `partitioner`, `linger` or `delivery_timeout`",
    ),
    (
        &["plugin.library.paths"],
        "it would load code into the host",
    ),
];
