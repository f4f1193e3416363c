//! Rules about RabbitMQ brokers.

use super::{Check, faults};
use crate::config::rabbitmq::RabbitMq;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>, path: &Path, rabbitmq: &RabbitMq) {
    for fault in rabbitmq.faults() {
        let at = faults::at(check, path, &fault);
        check.key(&at, fault.message).set_help(fault.help);
    }
}
