//! The host-wide guest budget: linear memory of all instances of all plugins, in sum.
//!
//! One number, added to before memory grows and taken from when an instance goes. It is what keeps many guests, each
//! within its own limit, from getting the host killed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes granted to guests, and how many there may be.
#[derive(Debug)]
pub(super) struct Budget {
    /// Sum over all live instances. Changed when memory grows and when an instance is dropped, never per message.
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    /// A budget of that many bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit,
        }
    }

    /// Takes `bytes` if they are there.
    pub(super) fn take(&self, bytes: u64) -> bool {
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .is_ok()
    }

    /// Gives back what was taken.
    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes there may be.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denies_what_does_not_fit_and_takes_back() {
        let budget = Budget::new(100);
        assert!(budget.take(60));
        assert!(!budget.take(41));
        assert_eq!(budget.used(), 60);
        assert!(!budget.take(u64::MAX), "an overflow is a denial");
        budget.give(60);
        assert!(budget.take(100));
    }
}
