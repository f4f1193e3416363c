//! Rules about NATS brokers.

use super::{Check, faults};
use crate::config::nats::Nats;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>, path: &Path, nats: &Nats) {
    for fault in nats.faults() {
        let at = faults::at(check, path, &fault);
        check.key(&at, fault.message).set_help(fault.help);
    }
}
