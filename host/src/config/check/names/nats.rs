//! Names of subjects, streams and groups on NATS, and ways that lead nowhere.

use super::Check;
use crate::config::nats::{Nats, name_problem, subject_problem};
use crate::config::tree::Path;
use crate::config::{Broker, Destination, Plugin, Subscription};
use crate::place::PlaceKind;

fn nats<'a>(check: &Check<'a>, broker: &str) -> Option<&'a Nats> {
    match check.broker(broker) {
        Some(Broker::Nats(nats)) => Some(nats),
        _ => None,
    }
}

pub(super) fn subscription(
    check: &mut Check<'_>,
    at: &Path,
    plugin_name: &str,
    one: &Subscription,
) {
    if nats(check, &one.broker).is_none() {
        return;
    }
    let Some((kind, place)) = one.place().filter(|(_, name)| !name.is_empty()) else {
        return;
    };
    let whole = at.key(kind.key());
    if kind == PlaceKind::Stream {
        if let Some(problem) = name_problem(place) {
            check
                .value(&whole, problem)
                .set_help("name the stream, such as `ORDERS`; a subject is written as `subject`");
        }
        durable(check, at, plugin_name, one);
        filter(check, at, one);
        return;
    }
    if check.is_written(&at.key("filter")) {
        check
            .key(&at.key("filter"), "a subject is a filter by itself")
            .set_help("leave it out, or read a `stream`");
    }
    if let Some(problem) = subject_problem(place, true) {
        check
            .value(&whole, problem)
            .set_help("write `orders.*`, say");
    }
    if check.is_written(&at.key("start")) {
        check
            .key(&at.key("start"), "a subject keeps nothing to start with")
            .set_help("leave it out, or read a `stream`");
    }
    let group = one.group.as_deref().unwrap_or_default();
    if group.contains(char::is_whitespace) || one.group.as_deref() == Some("") {
        check.value(&at.key("group"), "a queue group is a word without spaces");
    }
}

/// The group of a stream is a consumer, and has its name.
fn durable(check: &mut Check<'_>, at: &Path, plugin_name: &str, one: &Subscription) {
    let Some(problem) = name_problem(one.group(plugin_name)) else {
        return;
    };
    if one.group.is_some() {
        check.value(&at.key("group"), problem);
        return;
    }
    check
        .key(
            at,
            format!("the plugin's name, `{plugin_name}`, cannot be that of a consumer: {problem}"),
        )
        .set_help("write a `group`");
}

/// The server refuses subjects that overlap.
fn filter(check: &mut Check<'_>, at: &Path, one: &Subscription) {
    let all = one.filter.as_deref().unwrap_or_default();
    for (index, subject) in all.iter().enumerate() {
        let at = at.key("filter").index(index);
        if let Some(problem) = subject_problem(subject, true) {
            check.value(&at, problem);
        } else if let Some(other) = all[..index].iter().find(|o| overlap(o, subject)) {
            check.value(&at, format!("it overlaps with `{other}`"));
        }
    }
}

pub(super) fn destination(check: &mut Check<'_>, at: &Path, one: &Destination) {
    let Some(subject) = one.subject.as_deref().filter(|s| !s.is_empty()) else {
        return;
    };
    if nats(check, &one.broker).is_some()
        && let Some(problem) = subject_problem(subject, false)
    {
        check.value(&at.key("subject"), problem);
    }
}

/// Subjects of dead letters. They are published to streams, which confirm that they have them.
pub(super) fn own_subjects(check: &mut Check<'_>, path: &Path, name: &str, plugin: &Plugin) {
    let written = path.key("dead_letter").key("subject");
    for subscription in plugin.subscribe.keys() {
        let Some(dead) = plugin.dead_letter_target(name, subscription) else {
            continue;
        };
        if nats(check, &dead.broker).is_none() {
            continue;
        }
        let at = match check.stands(&written) {
            true => written.clone(),
            false => path.key("subscribe").key(subscription),
        };
        if let Some(problem) = subject_problem(&dead.name, false) {
            check.value(
                &at,
                format!("dead letters cannot go to `{}`: {problem}", dead.name),
            );
            return;
        }
        unconfirmed(check, &at, &dead.broker, &dead.name);
    }
}

/// What goes past the streams is confirmed by nobody, so dead letters cannot go the same way.
fn unconfirmed(check: &mut Check<'_>, at: &Path, broker: &str, subject: &str) {
    let place = check.place(broker);
    let config = check.config;
    let mut past_streams = config.plugins.iter().flat_map(|(plugin, one)| {
        let path = Path::of(["plugins", plugin, "publish"]);
        let all = one.publish.iter();
        all.map(move |(name, one)| (path.key(name), one))
    });
    let found = past_streams.find(|(_, one)| {
        one.core && one.subject.as_deref() == Some(subject) && check.place(&one.broker) == place
    });
    let Some((published, _)) = found else {
        return;
    };
    let published = check.merged.key_span(&published.key("core"));
    check
        .value(
            at,
            format!(
                "dead letters cannot go to `{subject}`: it is published past all streams, and nobody would confirm them"
            ),
        )
        .add_related(published, "it is published so here")
        .set_help("name a subject for them that a stream holds");
}

/// Whether a subscription reads what is published to `subject`: the stream only as far as the file says what it holds.
pub(in crate::config::check) fn reads(nats: &Nats, one: &Subscription, subject: &str) -> bool {
    match one.place() {
        Some((PlaceKind::Subject, pattern)) => overlap(pattern, subject),
        Some((PlaceKind::Stream, stream)) => {
            let declared = nats.declare.streams.get(stream);
            let subjects = declared.into_iter().flat_map(|stream| &stream.subjects);
            let dead_letters = nats.declare.dead_letters.as_deref() == Some(stream);
            let all = subjects.map(String::as_str);
            let mut all = all.chain(dead_letters.then_some("dlq.>"));
            let filter = one.filter.as_deref().unwrap_or_default();
            let wanted = filter.is_empty() || filter.iter().any(|one| overlap(one, subject));
            wanted && all.any(|pattern| overlap(pattern, subject))
        }
        _ => false,
    }
}

/// Whether something can be published that both subjects match; either may have wildcards.
pub(in crate::config::check) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn subjects_overlap_where_one_message_can_match_both() {
        for (one, other) in [
            ("a.b", "a.b"),
            ("a.*", "a.b"),
            ("a.*", "*.b"),
            (">", "a.b.c"),
            ("a.>", "a.b.c"),
            ("a.>", "*.*"),
        ] {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("a.b", "a.c"),
            ("a.*", "a"),
            ("a.*", "a.b.c"),
            ("a.>", "a"),
            ("a.>", "b.c"),
            ("ab", "a*"),
        ] {
            assert!(
                !overlap(one, other) && !overlap(other, one),
                "{one} {other}"
            );
        }
    }
}
