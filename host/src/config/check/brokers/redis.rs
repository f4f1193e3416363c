//! Rules about Redis brokers.

use super::Check;
use crate::config::Redis;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>, path: &Path, redis: &Redis) {
    for fault in redis.faults() {
        let mut at = path.clone();
        for key in &fault.path {
            // A place in a list is a number there.
            at = match key.parse() {
                Ok(index) if !check.stands(&at.key(key)) => at.index(index),
                _ => at.key(key),
            };
        }
        check.value(&at, fault.message).set_help(fault.help);
    }
}
