//! Names of topics on Kafka, and patterns of them.

use regex::Regex;

use super::Check;
use crate::config::kafka::topic_problem;
use crate::config::tree::Path;
use crate::config::{Broker, Destination, Plugin, Subscription};

/// Whether a source is a pattern of topics rather than the name of one.
pub(in crate::config::check) fn is_pattern(topic: &str) -> bool {
    topic.starts_with('^')
}

/// Whether a subscription to `source` reads `topic`.
pub(in crate::config::check) fn reads(source: &str, topic: &str) -> bool {
    source == topic
        || (is_pattern(source) && Regex::new(source).is_ok_and(|pattern| pattern.is_match(topic)))
}

fn on_kafka(check: &Check<'_>, broker: &str) -> bool {
    matches!(check.broker(broker), Some(Broker::Kafka(_)))
}

pub(super) fn subscription(check: &mut Check<'_>, at: &Path, one: &Subscription) {
    let Some(topic) = one.topic.as_deref().filter(|t| !t.is_empty()) else {
        return;
    };
    if !on_kafka(check, &one.broker) {
        return;
    }
    let at = at.key("topic");
    if is_pattern(topic) {
        if Regex::new(topic).is_err() {
            check
                .value(&at, "this pattern is not a regular expression")
                .set_help("write `^` and an expression, such as `^orders\\.`");
        }
    } else if let Some(problem) = topic_problem(topic) {
        check
            .value(&at, problem)
            .set_help("a pattern of topics begins with `^`");
    }
}

pub(super) fn destination(check: &mut Check<'_>, at: &Path, one: &Destination) {
    let Some(topic) = one.topic.as_deref().filter(|t| !t.is_empty()) else {
        return;
    };
    if on_kafka(check, &one.broker)
        && let Some(problem) = topic_problem(topic)
    {
        check.value(&at.key("topic"), problem);
    }
}

/// Topics that are named after the plugin and its subscriptions.
pub(super) fn own_topics(check: &mut Check<'_>, path: &Path, name: &str, plugin: &Plugin) {
    for (subscription, one) in &plugin.subscribe {
        if let Some(dead) = plugin.dead_letter_target(name, subscription)
            && on_kafka(check, &dead.broker)
            && let Some(problem) = topic_problem(&dead.name)
        {
            let written = path.key("dead_letter").key("topic");
            let at = match check.stands(&written) {
                true => written,
                false => path.key("subscribe").key(subscription),
            };
            check
                .key(
                    &at,
                    format!("dead letters cannot go to `{}`: {problem}", dead.name),
                )
                .set_help("name another topic under `dead_letter`");
        }
        let retry = format!("retry.{subscription}.{name}");
        if on_kafka(check, &one.broker)
            && let Some(problem) = topic_problem(&retry)
        {
            check
                .key(
                    &path.key("subscribe").key(subscription),
                    format!("the subscription's own topic would be `{retry}`: {problem}"),
                )
                .set_help("give plugin and subscription shorter names");
        }
    }
}
