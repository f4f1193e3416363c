//! Rules about RabbitMQ brokers.

use super::Check;
use crate::config::rabbitmq::RabbitMq;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>, path: &Path, rabbitmq: &RabbitMq) {
    for fault in rabbitmq.faults() {
        let mut at = path.clone();
        for key in &fault.path {
            // A place in a list is a number there.
            at = match key.parse() {
                Ok(index) if !check.stands(&at.key(key)) => at.index(index),
                _ => at.key(key),
            };
        }
        check.key(&at, fault.message).set_help(fault.help);
    }
}
