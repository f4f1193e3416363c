//! Whether a file should be loaded, decided from what it looks like now and what was seen before.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// What a file looks like from outside, links resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plugin) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` where there is no such file just now.
    pub(in crate::plugin) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// What to do about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing: it is what was last loaded, or gone.
    Same,
    /// It changed and may be changing still: look again after this long.
    Settling(Duration),
    /// It changed and has settled.
    Load,
}

/// One file's past.
#[derive(Debug)]
pub(super) struct Seen {
    /// What was last loaded, or tried.
    loaded: Option<Stamp>,
    /// What it changed to, and when that was first seen.
    changed: Option<(Stamp, Instant)>,
}

impl Seen {
    pub(super) fn new(loaded: Option<Stamp>) -> Self {
        Self {
            loaded,
            changed: None,
        }
    }

    /// Looks at the file as it is now. [`Look::Load`] is answered once per change.
    pub(super) fn look(&mut self, now: Instant, stamp: Option<Stamp>, settle: Duration) -> Look {
        let Some(stamp) = stamp.filter(|stamp| self.loaded != Some(*stamp)) else {
            self.changed = None;
            return Look::Same;
        };
        let since = match self.changed {
            Some((seen, since)) if seen == stamp => since,
            _ => {
                self.changed = Some((stamp, now));
                now
            }
        };
        let left = settle.saturating_sub(now.saturating_duration_since(since));
        if !left.is_zero() {
            return Look::Settling(left);
        }
        self.changed = None;
        self.loaded = Some(stamp);
        Look::Load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SETTLE: Duration = Duration::from_millis(100);

    fn stamp(size: u64) -> Option<Stamp> {
        Some(Stamp {
            device: 1,
            inode: 1,
            size,
            modified: (0, 0),
            changed: (0, 0),
        })
    }

    #[test]
    fn a_change_is_loaded_once_and_only_when_settled() {
        let zero = Instant::now();
        let mut seen = Seen::new(stamp(1));
        assert_eq!(seen.look(zero, stamp(1), SETTLE), Look::Same);
        assert_eq!(seen.look(zero, stamp(2), SETTLE), Look::Settling(SETTLE));
        let grows = zero + MS * 90;
        assert_eq!(
            seen.look(grows, stamp(3), SETTLE),
            Look::Settling(SETTLE),
            "still written"
        );
        assert_eq!(
            seen.look(grows + MS * 99, stamp(3), SETTLE),
            Look::Settling(MS)
        );
        assert_eq!(seen.look(grows + SETTLE, stamp(3), SETTLE), Look::Load);
        assert_eq!(seen.look(grows + SETTLE * 9, stamp(3), SETTLE), Look::Same);
    }

    #[test]
    fn a_file_that_is_gone_or_comes_back_the_same_changes_nothing() {
        let zero = Instant::now();
        let mut seen = Seen::new(stamp(1));
        assert_eq!(seen.look(zero, None, SETTLE), Look::Same);
        assert_eq!(seen.look(zero, stamp(2), SETTLE), Look::Settling(SETTLE));
        assert_eq!(seen.look(zero, stamp(1), SETTLE), Look::Same);
        assert_eq!(
            seen.look(zero + SETTLE, stamp(2), SETTLE),
            Look::Settling(SETTLE)
        );
    }

    #[test]
    fn a_plugin_without_a_version_loads_its_file_when_it_comes() {
        let zero = Instant::now();
        let mut seen = Seen::new(None);
        assert_eq!(seen.look(zero, None, SETTLE), Look::Same);
        assert_eq!(seen.look(zero, stamp(1), SETTLE), Look::Settling(SETTLE));
        assert_eq!(seen.look(zero + SETTLE, stamp(1), SETTLE), Look::Load);
    }
}
