//! Rules about the way of messages: who reads what, in which order, and where the dead ones go.

use std::collections::BTreeMap;

use super::Check;
#[cfg(feature = "kafka")]
use super::names::kafka;
#[cfg(feature = "nats")]
use super::names::nats;
#[cfg(any(feature = "kafka", feature = "nats", feature = "rabbitmq"))]
use crate::config::Broker;
use crate::config::tree::Path;
use crate::config::{Order, Plugin, Subscription};
use crate::place::PlaceKind;

pub(super) fn check(check: &mut Check<'_>, path: &Path, name: &str, plugin: &Plugin) {
    let subscribe = path.key("subscribe");
    let written = check
        .merged
        .at(&subscribe)
        .is_some_and(|node| !node.entries().is_empty());
    if plugin.subscribe.is_empty() && !written {
        check
            .key(&subscribe, "a plugin without a subscription never runs")
            .set_help("name a place to read from");
    }
    own_dead_letters(check, path, name, plugin);
    order(check, path, plugin);
}

/// A dead letter that comes back to the plugin that gave it up would do so for ever.
fn own_dead_letters(check: &mut Check<'_>, path: &Path, name: &str, plugin: &Plugin) {
    for subscription in plugin.subscribe.keys() {
        let Some(dead) = plugin.dead_letter_target(name, subscription) else {
            continue;
        };
        let Some(place) = check.place(&dead.broker) else {
            continue;
        };
        let back = plugin.subscribe.iter().find(|(_, one)| {
            reads(check, one, &dead.name) && check.place(&one.broker).as_ref() == Some(&place)
        });
        let Some((source, one)) = back else { continue };
        let source = path.key("subscribe").key(source);
        let key = one.place().map_or("", |(kind, _)| kind.key());
        let source = check.merged.value_span(&source.key(key));
        let configured = path.key("dead_letter");
        let at = match check.stands(&configured) {
            true => PlaceKind::ALL
                .map(PlaceKind::key)
                .into_iter()
                .chain(["broker"])
                .map(|key| configured.key(key))
                .find(|path| check.stands(path))
                .unwrap_or(configured),
            false => path.key("subscribe").key(subscription),
        };
        check
            .value(
                &at,
                format!(
                    "the dead letters of `{subscription}` go to `{}`, which this plugin reads",
                    dead.name
                ),
            )
            .add_related(source, "it is read here")
            .set_help(
                "a dead letter would be handled, fail and come back for ever; send them elsewhere",
            );
    }
}

fn order(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let word = match plugin.order {
        Order::None => return,
        Order::Key => "key",
        Order::Source => "source",
    };
    for (name, one) in &plugin.subscribe {
        #[cfg(feature = "rabbitmq")]
        single_active_consumer(check, path, name, one, word);
        let kind = one.place().map(|(kind, _)| kind);
        let broker = check.broker(&one.broker);
        let Some(why) = broker.and_then(|broker| broker.places().refuses_order(kind)) else {
            continue;
        };
        let place = check.merged.key_span(&path.key("subscribe").key(name));
        check
            .value(
                &path.key("order"),
                format!(
                    "`order: {word}` is a promise that `{}` cannot keep {why}",
                    one.broker
                ),
            )
            .add_related(place, "messages come from there here")
            .set_help("read from Kafka or an embedded broker, or set `order: none`");
    }
}

/// A queue of RabbitMQ that several consumers read has no order. Whether it is one the server does not say, so the file has
/// to; the server then refuses where it is not so.
#[cfg(feature = "rabbitmq")]
fn single_active_consumer(
    check: &mut Check<'_>,
    path: &Path,
    name: &str,
    one: &Subscription,
    word: &str,
) {
    let (Some(Broker::RabbitMq(rabbitmq)), Some(queue)) = (check.broker(&one.broker), &one.queue)
    else {
        return;
    };
    let declared = rabbitmq.declare.queues.get(queue);
    if declared.is_some_and(|queue| queue.single_active_consumer) {
        return;
    }
    let place = check.merged.key_span(&path.key("subscribe").key(name));
    let declare = format!(
        "declare it under `brokers.{}`: `declare: {{ queues: {{ {queue}: {{ single_active_consumer: true }} }} }}`",
        one.broker
    );
    check
        .value(
            &path.key("order"),
            format!("`order: {word}` needs a queue with a single active consumer, and `{queue}` is not declared as one"),
        )
        .add_related(place, "messages come from there here")
        .set_help(declare);
}

/// Whether a subscription reads what lies in `place`. Only Kafka and NATS have patterns of places: elsewhere a name that
/// begins with `^` is a name.
fn reads(check: &Check<'_>, one: &Subscription, place: &str) -> bool {
    match check.broker(&one.broker) {
        #[cfg(feature = "kafka")]
        Some(Broker::Kafka(_)) => kafka::reads(one.source(), place),
        #[cfg(feature = "nats")]
        Some(Broker::Nats(broker)) => nats::reads(broker, one, place),
        _ => one.source() == place,
    }
}

/// One group in two subscriptions would deal each message to one of the two, at random.
pub(super) fn groups(check: &mut Check<'_>) {
    let mut seen: Seen<'_> = BTreeMap::new();
    let mut all: Vec<_> = check.subscriptions().collect();
    // As they stand in the files, so that the second is the one that is reported.
    all.sort_by_key(|(_, _, _, path)| check.merged.key_span(path));
    for (plugin_name, plugin, name, path) in all {
        let Some(one) = plugin.subscribe.get(name) else {
            continue;
        };
        let Some(place) = check.place(&one.broker) else {
            continue;
        };
        let Some(source) = one.place().filter(|(_, name)| !name.is_empty()) else {
            continue;
        };
        // What is said there is heard by each who listens.
        if matches!(source.0, PlaceKind::Channel | PlaceKind::Pattern) {
            continue;
        }
        // Whoever reads a queue shares it with all others who do.
        let queue = matches!(
            source.0,
            PlaceKind::Queue | PlaceKind::List | PlaceKind::SortedSet
        );
        let group = if queue { "" } else { one.group(plugin_name) };
        match seen.get(&(place.clone(), source, group)) {
            Some(first) => {
                let first = check.merged.key_span(first);
                let (message, help) = if queue {
                    (
                        format!(
                            "two subscriptions read the {} `{}`",
                            source.0.key().replace('_', " "),
                            one.source()
                        ),
                        match source.0 {
                            PlaceKind::Queue => {
                                "each message would go to only one of them; give each its own queue, bound to one exchange"
                            }
                            _ => {
                                "each message would go to only one of them; read a stream, each with its own `group`"
                            }
                        },
                    )
                } else {
                    (
                        format!(
                            "two subscriptions read `{}` as the group `{group}`",
                            one.source()
                        ),
                        "each message would go to only one of them; give each its own `group`",
                    )
                };
                check
                    .key(&path, message)
                    .add_related(first, "the first is here")
                    .set_help(help);
            }
            None => {
                #[cfg(feature = "nats")]
                if let Some(first) = overlapping(&seen, &place, source, group) {
                    shared_queue_group(check, &path, first, one.source(), group);
                }
                seen.insert((place, source, group), path);
            }
        }
    }
}

/// Subscriptions by place, what is read there, and group.
type Seen<'a> = BTreeMap<(String, (PlaceKind, &'a str), &'a str), Path>;

/// A queue group of NATS gets each message once, by whichever of its subjects: two that overlap share.
#[cfg(feature = "nats")]
fn overlapping<'s>(
    seen: &'s Seen<'_>,
    place: &str,
    (kind, subject): (PlaceKind, &str),
    group: &str,
) -> Option<(&'s str, &'s Path)> {
    let shares = |key: &(String, (PlaceKind, &str), &str)| {
        key.0 == place && key.2 == group && key.1.0 == kind && nats::overlap(key.1.1, subject)
    };
    let subjects = kind == PlaceKind::Subject;
    let found = seen.iter().find(|(key, _)| subjects && shares(key));
    found.map(|(key, path)| (key.1.1, path))
}

#[cfg(feature = "nats")]
fn shared_queue_group(
    check: &mut Check<'_>,
    path: &Path,
    (other, first): (&str, &Path),
    subject: &str,
    group: &str,
) {
    let first = check.merged.key_span(first);
    check
        .key(
            path,
            format!("`{subject}` and `{other}` overlap, and both are read as the group `{group}`"),
        )
        .add_related(first, "the first is here")
        .set_help("each message would go to only one of them; give each its own `group`");
}
