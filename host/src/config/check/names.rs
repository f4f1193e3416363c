//! Rules about what a plugin names: brokers that exist, and places in the words of that broker's type.

#[cfg(feature = "kafka")]
pub(super) mod kafka;

use super::Check;
use crate::config::tree::{Node, Origin, Path, Span};
use crate::config::{Plugin, structure};

/// Keys of subscriptions, destinations and dead letters that belong to one type of broker.
const OWNED: [(&str, &[&str]); 4] = [
    ("topic", &["embedded", "kafka"]),
    ("stream", &["redis"]),
    ("payload", &["redis"]),
    ("max_len", &["redis"]),
];

#[cfg_attr(
    not(feature = "kafka"),
    expect(unused_variables, reason = "only Kafka has rules for names made of it")
)]
pub(super) fn check(check: &mut Check<'_>, path: &Path, plugin_name: &str, plugin: &Plugin) {
    for (name, one) in &plugin.subscribe {
        let at = path.key("subscribe").key(name);
        place(check, &at, &one.broker, &[&one.topic, &one.stream]);
        #[cfg(feature = "kafka")]
        kafka::subscription(check, &at, one);
    }
    for (name, one) in &plugin.publish {
        let at = path.key("publish").key(name);
        place(check, &at, &one.broker, &[&one.topic, &one.stream]);
        #[cfg(feature = "kafka")]
        kafka::destination(check, &at, one);
        if name == "reply" {
            check
                .key(&at, "a destination cannot be called `reply`")
                .set_help("`reply` answers the message's own reply-to; choose another name");
        }
        for (index, pattern) in one.allow_topic_override.iter().flatten().enumerate() {
            if pattern.is_empty()
                || pattern.trim_end_matches('*').contains('*')
                || pattern.ends_with("**")
            {
                check
                    .value(
                        &at.key("allow_topic_override").index(index),
                        "this pattern matches nothing",
                    )
                    .set_help("write a name, or the beginning of names followed by one `*`");
            }
        }
    }
    dead_letter(check, path, plugin);
    #[cfg(feature = "kafka")]
    kafka::own_topics(check, path, plugin_name, plugin);
}

/// A subscription or destination: its broker exists, and its place is named in that broker's words.
fn place(check: &mut Check<'_>, at: &Path, broker: &str, names: &[&Option<String>]) {
    let Some(kind) = kind(check, &at.key("broker"), broker) else {
        return;
    };
    foreign_keys(check, at, broker, kind);
    let (wanted, foreign) = match kind {
        "redis" => ("stream", "topic"),
        _ => ("topic", "stream"),
    };
    if !check.stands(&at.key(wanted)) && !check.stands(&at.key(foreign)) {
        check.key(
            at,
            format!("`{wanted}` is missing: where on `{broker}`, a broker of type {kind}?"),
        );
    }
    if names.iter().any(|name| name.as_deref() == Some("")) {
        let key = if names[0].as_deref() == Some("") {
            "topic"
        } else {
            "stream"
        };
        check.key(&at.key(key), format!("`{key}` is empty"));
    }
}

fn dead_letter(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let Some(dead) = &plugin.dead_letter else {
        return;
    };
    let at = path.key("dead_letter");
    for key in ["topic", "stream"] {
        let Some(name) = (if key == "topic" {
            &dead.topic
        } else {
            &dead.stream
        }) else {
            continue;
        };
        let bare = name.replace("{subscription}", "").replace("{plugin}", "");
        if bare.contains(['{', '}']) {
            check
                .value(
                    &at.key(key),
                    "only `{subscription}` and `{plugin}` stand for something",
                )
                .set_help("the default is `dlq.{subscription}.{plugin}`");
        }
        if name.is_empty() {
            check.key(&at.key(key), format!("`{key}` is empty"));
        }
    }
    if check.is_written(&at.key("topic")) && check.is_written(&at.key("stream")) {
        check
            .key(
                &at.key("stream"),
                "`topic` and `stream` both name the place",
            )
            .set_help("keep one of them");
        return;
    }
    if let Some(broker) = &dead.broker {
        if let Some(kind) = kind(check, &at.key("broker"), broker) {
            foreign_keys(check, &at, broker, kind);
        }
        return;
    }
    // Beside each subscription: the words must fit the brokers of all of them.
    for one in plugin.subscribe.values() {
        if let Some(broker) = check.broker(&one.broker) {
            foreign_keys(check, &at, &one.broker, broker.kind());
        }
    }
}

/// The type of a broker that is named at `at`, if it exists and is sound.
fn kind(check: &mut Check<'_>, at: &Path, broker: &str) -> Option<&'static str> {
    if let Some(found) = check.broker(broker) {
        return Some(found.kind());
    }
    let brokers = Path::of(["brokers"]);
    if !check.stands(&brokers.key(broker)) {
        let known: Vec<&str> = check
            .written
            .get("brokers")
            .into_iter()
            .flat_map(|node| node.entries())
            .map(|e| e.key.as_str())
            .collect();
        let help = match known.is_empty() {
            true => Some("there are no brokers; add one under `brokers`".to_owned()),
            false => structure::suggest(broker, &known, "the brokers are"),
        };
        let written = check
            .merged
            .at(at)
            .and_then(Node::scalar)
            .is_some_and(|scalar| scalar.origin == Origin::Written);
        let message = match written {
            true => format!("there is no broker `{broker}`"),
            false => "this value is not the name of a broker".to_owned(),
        };
        check.value(at, message).set_help_if(help);
    }
    None
}

/// Keys of another type of broker, where they were written: those that came through `defaults` are meant for others.
fn foreign_keys(check: &mut Check<'_>, at: &Path, broker: &str, kind: &str) {
    for (key, owner) in OWNED {
        let whole = at.key(key);
        if owner.contains(&kind) || !check.is_written(&whole) {
            continue;
        }
        let place: Span = check.merged.key_span(&Path::of(["brokers", broker]));
        let fitting = match (key, kind) {
            ("stream", "embedded" | "kafka") => Some("write `topic` instead".to_owned()),
            ("topic", "redis") => Some("write `stream` instead".to_owned()),
            _ => Some("leave it out".to_owned()),
        };
        check
            .key(
                &whole,
                format!(
                    "`{key}` is for brokers of type {}, and `{broker}` is of type {kind}",
                    owner.join(" or ")
                ),
            )
            .add_related(place, "the broker is here")
            .set_help_if(fitting);
    }
}
