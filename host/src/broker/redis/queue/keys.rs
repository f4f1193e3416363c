//! Names of what is kept beside a list or a sorted set. All of it bears the place's hash tag, so that every script stays
//! within one slot of a cluster.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `wharf:queue:{S}:S:items` | hash | id → the value as it was taken, of all that is not settled |
//! | `wharf:queue:{S}:S:kept` | hash | id → `<attempts> <first failure, ms, or -> <deaths> <score or ->` |
//! | `wharf:queue:{S}:S:due` | sorted set | ids of what is released and nobody's, by when it is due |
//! | `wharf:queue:{S}:S:hosts` | hash | host → `live` or `fenced` |
//! | `wharf:queue:{S}:S:held:<host>` | sorted set | ids of what that host has in hand, by when it took them |
//! | `wharf:queue:{S}:S:lease:<host>` | string, with a time to live | exists while that host is alive |

use crate::broker::redis::keys::{escape, tag};

/// Those of one place.
#[derive(Debug)]
pub(in crate::broker::redis) struct Keys {
    pub(super) place: String,
    pub(super) items: String,
    pub(super) kept: String,
    pub(super) due: String,
    pub(super) hosts: String,
    base: String,
}

impl Keys {
    pub(in crate::broker::redis) fn new(place: &str) -> Self {
        let base = format!("wharf:queue:{{{}}}:{place}", tag(place));
        Self {
            place: place.to_owned(),
            items: format!("{base}:items"),
            kept: format!("{base}:kept"),
            due: format!("{base}:due"),
            hosts: format!("{base}:hosts"),
            base,
        }
    }

    pub(super) fn held(&self, host: &str) -> String {
        format!("{}:held:{}", self.base, escape(host))
    }

    pub(super) fn lease(&self, host: &str) -> String {
        format!("{}:lease:{}", self.base, escape(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_place_share_its_slot() {
        for (place, slot) in [("jobs", "jobs"), ("{shop}.jobs", "shop")] {
            let keys = Keys::new(place);
            let mine = [&keys.items, &keys.kept, &keys.due, &keys.hosts];
            assert!(mine.iter().all(|key| tag(key) == slot), "{keys:?}");
            assert_eq!(tag(&keys.held("wharf:h:1")), slot);
            assert_eq!(tag(&keys.lease("wharf:h:1")), slot);
        }
    }
}
