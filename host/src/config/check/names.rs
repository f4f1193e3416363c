//! Rules about what a plugin names: brokers that exist, and places in the words of that broker's type.

#[cfg(feature = "kafka")]
pub(super) mod kafka;
#[cfg(feature = "nats")]
pub(super) mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;

use super::Check;
use crate::config::place::{self, types_with};
use crate::config::tree::{Node, Origin, Path, Span};
use crate::config::{Destination, Plugin, structure};
use crate::place::PlaceKind;

/// Keys that belong to some types of brokers, beside those that name a place.
const OWNED: [(&str, &[&str]); 8] = [
    ("payload", &["redis"]),
    ("max_len", &["redis"]),
    ("max_age", &["redis"]),
    ("routing_key", &["rabbitmq"]),
    ("core", &["nats"]),
    ("filter", &["nats"]),
    // A queue has one group of readers and begins with what is in it.
    ("group", &["embedded", "kafka", "nats", "redis"]),
    ("start", &["embedded", "kafka", "nats", "redis"]),
];

/// What may name a place, and what was named.
type Names<'a> = &'a [(PlaceKind, &'a Option<String>)];

/// For what a place is named.
#[derive(Clone, Copy)]
enum Purpose {
    Reading,
    Writing,
    DeadLetters,
}

impl Purpose {
    /// The kinds of places that brokers of this type have for it.
    fn kinds(self, broker_type: &str) -> &'static [PlaceKind] {
        let places = place::of(broker_type);
        match self {
            Self::Reading => places.reads,
            Self::Writing => places.writes,
            Self::DeadLetters => places.dead_letters,
        }
    }
}

#[cfg_attr(
    not(any(feature = "kafka", feature = "nats", feature = "rabbitmq")),
    expect(
        unused_variables,
        reason = "only some brokers have rules for names made of it"
    )
)]
pub(super) fn check(check: &mut Check<'_>, path: &Path, plugin_name: &str, plugin: &Plugin) {
    for (name, one) in &plugin.subscribe {
        let at = path.key("subscribe").key(name);
        named(check, &at, &one.broker, Purpose::Reading, &one.names());
        #[cfg(feature = "kafka")]
        kafka::subscription(check, &at, one);
        #[cfg(feature = "nats")]
        nats::subscription(check, &at, plugin_name, one);
    }
    for (name, one) in &plugin.publish {
        let at = path.key("publish").key(name);
        named(check, &at, &one.broker, Purpose::Writing, &one.names());
        #[cfg(feature = "kafka")]
        kafka::destination(check, &at, one);
        #[cfg(feature = "rabbitmq")]
        rabbitmq::destination(check, &at, one);
        #[cfg(feature = "nats")]
        nats::destination(check, &at, one);
        trimming(check, &at, one);
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
    #[cfg(feature = "rabbitmq")]
    rabbitmq::own_queues(check, path, plugin_name, plugin);
    #[cfg(feature = "nats")]
    nats::own_subjects(check, path, plugin_name, plugin);
}

/// How a stream is kept short.
fn trimming(check: &mut Check<'_>, at: &Path, one: &Destination) {
    if one.max_len.is_some() && one.max_age.is_some() {
        check
            .key(
                &at.key("max_age"),
                "`max_len` and `max_age` are both there, and Redis trims by one of them",
            )
            .set_help("keep one of them");
    }
    if one.max_age.is_some_and(|age| age.as_millis() == 0) {
        check
            .value(&at.key("max_age"), "nothing is kept for no time")
            .set_help("write such as `7d`; leave it out to keep all");
    }
}

/// A subscription or destination: its broker exists, and one place is named in that broker's words.
fn named(check: &mut Check<'_>, at: &Path, broker: &str, purpose: Purpose, names: Names<'_>) {
    let Some(kind) = kind(check, &at.key("broker"), broker) else {
        return;
    };
    foreign_keys(check, at, broker, kind, purpose, names);
    if !names.iter().any(|(k, _)| check.stands(&at.key(k.key()))) {
        let wanted = any_of(purpose.kinds(kind));
        check.key(
            at,
            format!("{wanted} is missing: where on `{broker}`, a broker of type {kind}?"),
        );
    }
    one_place(check, at, purpose.kinds(kind), names);
    empty(check, at, names);
}

/// Two names for one place, where the broker has places of both kinds. Otherwise one of the two is a foreign key.
fn one_place(check: &mut Check<'_>, at: &Path, kinds: &[PlaceKind], names: Names<'_>) {
    let both = |kind: &PlaceKind| kinds.contains(kind) && check.is_written(&at.key(kind.key()));
    let written: Vec<PlaceKind> = names.iter().map(|(k, _)| *k).filter(both).collect();
    let &[first, second, ..] = &written[..] else {
        return;
    };
    check
        .key(
            &at.key(second.key()),
            format!(
                "`{}` and `{}` both name the place",
                first.key(),
                second.key()
            ),
        )
        .set_help("keep one of them");
}

fn empty(check: &mut Check<'_>, at: &Path, names: Names<'_>) {
    for (kind, name) in names {
        let key = kind.key();
        if name.as_deref() == Some("") {
            check.key(&at.key(key), format!("`{key}` is empty"));
        }
    }
}

/// The keys of these kinds, as a phrase.
fn any_of(kinds: &[PlaceKind]) -> String {
    let keys: Vec<String> = kinds.iter().map(|k| format!("`{}`", k.key())).collect();
    match &keys[..] {
        [one] => one.clone(),
        [most @ .., last] => format!("one of {} and {last}", most.join(", ")),
        [] => String::new(),
    }
}

fn dead_letter(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let Some(dead) = &plugin.dead_letter else {
        return;
    };
    let at = path.key("dead_letter");
    let names = &dead.names();
    for (kind, name) in names {
        let Some(name) = name else { continue };
        let bare = name.replace("{subscription}", "").replace("{plugin}", "");
        if bare.contains(['{', '}']) {
            check
                .value(
                    &at.key(kind.key()),
                    "only `{subscription}` and `{plugin}` stand for something",
                )
                .set_help("the default is `dlq.{subscription}.{plugin}`");
        }
    }
    empty(check, &at, names);
    let problems = check.problems.len();
    one_place(check, &at, &names.map(|(kind, _)| kind), names);
    if check.problems.len() > problems {
        return;
    }
    let purpose = Purpose::DeadLetters;
    if let Some(broker) = &dead.broker {
        if let Some(kind) = kind(check, &at.key("broker"), broker) {
            foreign_keys(check, &at, broker, kind, purpose, names);
        }
        return;
    }
    // Beside each subscription: the words must fit the brokers of all of them.
    for one in plugin.subscribe.values() {
        if let Some(broker) = check.broker(&one.broker) {
            foreign_keys(check, &at, &one.broker, broker.kind(), purpose, names);
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
fn foreign_keys(
    check: &mut Check<'_>,
    at: &Path,
    broker: &str,
    kind: &str,
    purpose: Purpose,
    names: Names<'_>,
) {
    let kinds = purpose.kinds(kind);
    for (place, _) in names {
        if !kinds.contains(place) {
            let help = format!("write {} instead", any_of(kinds));
            foreign(
                check,
                at,
                broker,
                kind,
                place.key(),
                &types_with(*place),
                help,
            );
        }
    }
    let written = |place: &PlaceKind| check.is_written(&at.key(place.key()));
    let place = names.iter().map(|(place, _)| *place).find(written);
    for (key, owners) in OWNED {
        if let Some(place) = place.filter(|_| kind == "redis" && owners.contains(&kind)) {
            of_streams(check, at, key, place);
        }
        if !owners.contains(&kind) {
            let help = "leave it out".to_owned();
            foreign(check, at, broker, kind, key, owners, help);
        }
    }
}

/// A key of streams, beside a place of Redis that is none: it has neither groups nor fields.
fn of_streams(check: &mut Check<'_>, at: &Path, key: &str, place: PlaceKind) {
    let whole = at.key(key);
    let streams = [PlaceKind::Stream, PlaceKind::Topic];
    if streams.contains(&place) || !check.is_written(&whole) {
        return;
    }
    // That it begins with what is there is so.
    let value = check.merged.at(&whole).and_then(Node::scalar);
    if key == "start" && value.is_some_and(|value| value.text == "earliest") {
        return;
    }
    let word = place.key().replace('_', " ");
    check
        .key(
            &whole,
            format!("`{key}` is for streams, and this is a {word}"),
        )
        .set_help("leave it out");
}

fn foreign(
    check: &mut Check<'_>,
    at: &Path,
    broker: &str,
    kind: &str,
    key: &str,
    owners: &[&str],
    help: String,
) {
    let whole = at.key(key);
    if !check.is_written(&whole) {
        return;
    }
    let place: Span = check.merged.key_span(&Path::of(["brokers", broker]));
    // A broker may have such places for another purpose.
    let message = match owners.contains(&kind) {
        true => format!("`{key}` is nothing a broker of type {kind} has for this"),
        false => format!(
            "`{key}` is for brokers of type {}, and `{broker}` is of type {kind}",
            owners.join(" or ")
        ),
    };
    check
        .key(&whole, message)
        .add_related(place, "the broker is here")
        .set_help(help);
}
