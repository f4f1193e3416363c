//! Rules about Kafka brokers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Check;
use crate::config::kafka::{GroupProtocol, Kafka, Property, Security, Topic, topic_problem};
use crate::config::tree::Path;

/// Shorter sessions end whenever a host is busy.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) fn check(check: &mut Check<'_>, path: &Path, kafka: &Kafka) {
    addresses(
        check,
        &path.key("bootstrap_servers"),
        &kafka.bootstrap_servers,
    );
    group(check, path, kafka);
    security(check, &path.key("security"), &kafka.security);
    delivery(check, path, kafka);
    properties(check, &path.key("properties"), &kafka.properties);
    for (name, topic) in &kafka.declare {
        declared(check, &path.key("declare").key(name), name, topic);
    }
}

fn addresses(check: &mut Check<'_>, path: &Path, servers: &str) {
    let sound = |one: &str| {
        let (host, port) = one.trim().rsplit_once(':')?;
        let host = !host.is_empty() && !host.contains(['/', ' ']);
        (host && port.parse::<u16>().is_ok_and(|port| port != 0)).then_some(())
    };
    if !servers.split(',').all(|one| sound(one).is_some()) {
        check
            .value(path, "this is not a list of addresses with ports")
            .set_help("write `host:port`, or more than one separated by commas, without a scheme");
    }
}

fn group(check: &mut Check<'_>, path: &Path, kafka: &Kafka) {
    let session = path.key("session_timeout");
    match kafka.group_protocol {
        GroupProtocol::Consumer if kafka.session_timeout.is_some() => {
            check
                .key(
                    &session,
                    "with `group_protocol: consumer` sessions are set at the servers",
                )
                .set_help("leave it out, and set `group.consumer.session.timeout.ms` there");
        }
        GroupProtocol::Consumer => {}
        GroupProtocol::Classic if kafka.session_timeout.is_some_and(|s| s < SHORTEST) => {
            check
                .value(
                    &session,
                    "so short a session ends whenever the host is busy",
                )
                .set_help(
                    "write at least `1s`, and no less than the servers allow: `6s` unless changed",
                );
        }
        GroupProtocol::Classic => {}
    }
}

fn security(check: &mut Check<'_>, path: &Path, security: &Security) {
    let protocol = security.protocol.as_str();
    let sasl = security.protocol.is_sasl();
    let of_sasl = [
        ("mechanism", security.mechanism.is_some()),
        ("username", security.username.is_some()),
        ("password", security.password.is_some()),
    ];
    for (key, there) in of_sasl {
        if sasl && !there {
            check.key(
                path,
                format!("`{key}` is missing: `protocol: {protocol}` says who we are"),
            );
        } else if !sasl && there {
            check
                .key(
                    &path.key(key),
                    format!("`{key}` is not used with `protocol: {protocol}`"),
                )
                .set_help(
                    "set `protocol: sasl_ssl`, or `sasl_plaintext` where the network is trusted",
                );
        }
    }
    let files = [
        ("ca", &security.ca),
        ("certificate", &security.certificate),
        ("key", &security.key),
    ];
    for (key, file) in files {
        let Some(file) = file else { continue };
        let at = path.key(key);
        if !security.protocol.is_encrypted() {
            check
                .key(
                    &at,
                    format!("`{key}` is not used with `protocol: {protocol}`"),
                )
                .set_help("set `protocol: ssl` or `sasl_ssl`");
        } else if let Err(error) = std::fs::File::open(file) {
            check.value(
                &at,
                format!("`{}` cannot be read: {}", file.display(), error.kind()),
            );
        }
    }
    if security.certificate.is_some() != security.key.is_some() {
        check
            .key(path, "`certificate` and `key` are of use only together")
            .set_help("give both, or neither");
    }
}

fn delivery(check: &mut Check<'_>, path: &Path, kafka: &Kafka) {
    if kafka.delivery_timeout < kafka.linger || kafka.delivery_timeout.is_zero() {
        check
            .value(
                &path.key("delivery_timeout"),
                "an output cannot be delivered in less time than it waits for others",
            )
            .set_help("let it be longer than `linger`; the default is `30s`");
    }
}

fn properties(check: &mut Check<'_>, path: &Path, properties: &BTreeMap<String, Property>) {
    for name in properties.keys() {
        if let Some(instead) = Kafka::refusal(name) {
            check
                .key(&path.key(name), format!("`{name}` cannot be set here"))
                .set_help(instead);
        }
    }
}

fn declared(check: &mut Check<'_>, path: &Path, name: &str, topic: &Topic) {
    if let Some(problem) = topic_problem(name) {
        check.key(path, problem);
    }
    let ours = [
        ("cleanup.policy", "cleanup"),
        ("retention.ms", "retention"),
        ("retention.bytes", "retention_bytes"),
    ];
    for (property, key) in ours {
        if topic.properties.contains_key(property) {
            check
                .key(
                    &path.key("properties").key(property),
                    format!("`{property}` cannot be set here"),
                )
                .set_help(format!("use `{key}` of the topic"));
        }
    }
}
