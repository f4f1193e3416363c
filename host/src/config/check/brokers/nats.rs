//! Rules about NATS brokers.

use super::Check;
use crate::config::nats::Nats;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>, path: &Path, nats: &Nats) {
    for fault in nats.faults() {
        let at = fault.path.iter().fold(path.clone(), |at, key| at.key(key));
        check.key(&at, fault.message).set_help(fault.help);
    }
}
