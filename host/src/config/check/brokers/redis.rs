//! Rules about Redis brokers.

use super::{Check, faults};
use crate::config::Redis;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>, path: &Path, redis: &Redis) {
    for fault in redis.faults() {
        let at = faults::at(check, path, &fault);
        let problem = check.value(&at, fault.message);
        problem.set_help(fault.help);
        if fault.secret {
            problem.show_keys();
        }
    }
}
