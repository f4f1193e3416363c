//! Where the faults of a broker are shown.

use super::Check;
use crate::config::broker::faults::Fault;
use crate::config::tree::Path;

/// The place of a fault of the broker at `path`.
pub(super) fn at(check: &Check<'_>, path: &Path, fault: &Fault) -> Path {
    let mut at = path.clone();
    for key in &fault.path {
        // A place in a list is a number there.
        at = match key.parse() {
            Ok(index) if !check.stands(&at.key(key)) => at.index(index),
            _ => at.key(key),
        };
    }
    at
}
