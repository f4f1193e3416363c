//! How many entries to ask for, so that what comes fits into so many bytes.
//!
//! The server counts entries, not bytes, so this goes by what came before: up at once with the average of a read, down
//! slowly. Before anything was read it asks for [`UNKNOWN`].

use std::sync::atomic::{AtomicUsize, Ordering};

/// Entries asked for while their size is unknown.
const UNKNOWN: usize = 8;

/// The expected size of an entry of one subscription. Written by the source after each read, read by whoever is to
/// read next; a stale value makes one read larger or smaller, nothing else.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    expected: AtomicUsize,
}

impl Sizes {
    /// Learns from a read of `count` messages of `bytes` in all.
    pub(super) fn saw(&self, count: usize, bytes: usize) {
        if let Some(average) = bytes.checked_div(count) {
            let before = self.expected.load(Ordering::Relaxed);
            self.expected
                .store(expect(before, average), Ordering::Relaxed);
        }
    }

    /// How many to ask for, at most `most` and at least one.
    pub(super) fn how_many(&self, most: usize, bytes: usize) -> usize {
        match bytes.checked_div(self.expected.load(Ordering::Relaxed)) {
            None => most.min(UNKNOWN),
            Some(fit) => fit.clamp(1, most.max(1)),
        }
    }
}

/// What to expect after an average of `now`, having expected `before`.
fn expect(before: usize, now: usize) -> usize {
    now.max(before - before / 8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_few_until_it_knows_and_then_for_what_fits() {
        let sizes = Sizes::default();
        assert_eq!(sizes.how_many(1000, 1 << 20), UNKNOWN);
        assert_eq!(sizes.how_many(3, 1 << 20), 3);
        sizes.saw(10, 10 << 10);
        assert_eq!(sizes.how_many(1000, 100 << 10), 100);
        assert_eq!(sizes.how_many(50, 100 << 10), 50);
        sizes.saw(1, 1 << 20);
        assert_eq!(sizes.how_many(1000, 4 << 20), 4);
        assert_eq!(sizes.how_many(1000, 10), 1, "a large one gets through");
        sizes.saw(0, 0);
    }

    #[test]
    fn forgets_a_large_one_slowly() {
        let after = (0..200).fold(1 << 20, |before, _| expect(before, 1000));
        assert_eq!(after, 1000);
        assert!(expect(1 << 20, 1000) > 900_000);
    }
}
