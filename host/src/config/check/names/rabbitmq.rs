//! Names of queues and exchanges on RabbitMQ, and ways that lead nowhere.

use super::Check;
use crate::config::rabbitmq::{ExchangeKind, RabbitMq};
use crate::config::tree::Path;
use crate::config::{Broker, Destination, Plugin};

/// The longest name AMQP can carry.
const LONGEST: usize = 255;
/// What the host puts behind the name of a subscription's own queue: a dot, and how long messages wait in it.
const LONGEST_WAIT: usize = ".4294967295".len();

fn rabbitmq<'a>(check: &Check<'a>, broker: &str) -> Option<&'a RabbitMq> {
    match check.broker(broker) {
        Some(Broker::RabbitMq(rabbitmq)) => Some(rabbitmq),
        _ => None,
    }
}

pub(super) fn destination(check: &mut Check<'_>, at: &Path, one: &Destination) {
    let Some(rabbitmq) = rabbitmq(check, &one.broker) else {
        return;
    };
    let too_long = |text: &&String| text.len() > LONGEST;
    for (key, text) in [
        ("queue", &one.queue),
        ("exchange", &one.exchange),
        ("routing_key", &one.routing_key),
    ] {
        if text.as_ref().is_some_and(|text| too_long(&text)) {
            let message = format!("`{key}` has at most {LONGEST} bytes");
            check.value(&at.key(key), message);
        }
    }
    let Some(name) = &one.exchange else {
        if one.routing_key.is_some() && one.queue.is_some() {
            check
                .key(&at.key("routing_key"), "a queue has no routing key")
                .set_help("leave it out, or name an `exchange` instead of the queue");
        }
        return;
    };
    // Of one that is made elsewhere nothing is known.
    let Some(exchange) = rabbitmq.declare.exchanges.get(name) else {
        return;
    };
    let by_key = matches!(exchange.kind, ExchangeKind::Direct | ExchangeKind::Topic);
    if by_key && one.routing_key.is_none() && one.allow_topic_override.is_none() {
        check
            .key(
                &at.key("exchange"),
                format!("`{name}` chooses by routing key, and there is none"),
            )
            .set_help("write `routing_key`, or let messages name one with `allow_topic_override`");
    }
}

/// Queues that are named after the plugin and its subscriptions.
pub(super) fn own_queues(check: &mut Check<'_>, path: &Path, name: &str, plugin: &Plugin) {
    for (subscription, one) in &plugin.subscribe {
        let at = path.key("subscribe").key(subscription);
        if rabbitmq(check, &one.broker).is_some() {
            let longest = format!("retry.{subscription}.{name}").len() + LONGEST_WAIT;
            if longest > LONGEST {
                check
                    .key(
                        &at,
                        "the name of the subscription's own queue would be too long",
                    )
                    .set_help("give plugin and subscription shorter names");
            }
            if one
                .queue
                .as_ref()
                .is_some_and(|queue| queue.len() > LONGEST)
            {
                let message = format!("`queue` has at most {LONGEST} bytes");
                check.value(&at.key("queue"), message);
            }
        }
        let Some(dead) = plugin.dead_letter_target(name, subscription) else {
            continue;
        };
        if rabbitmq(check, &dead.broker).is_some() && dead.name.len() > LONGEST {
            let written = path.key("dead_letter").key("queue");
            let at = match check.stands(&written) {
                true => written,
                false => at,
            };
            check
                .key(
                    &at,
                    "the name of the queue of dead letters would be too long",
                )
                .set_help("name another queue under `dead_letter`");
        }
    }
}
