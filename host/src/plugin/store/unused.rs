//! What keeps the folder of compiled code from growing for ever.
//!
//! An entry's time of change says when it was last loaded, to the day. Entries that nobody loaded for a month are
//! deleted when a store is opened: those of old versions, and those of engines that were replaced by an update. The
//! cost of being wrong is one compilation.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Notes that an entry was loaded. Written at most once a day; a folder that cannot be written to is left as it is.
pub(super) fn loaded(entry: &Path, now: SystemTime) {
    let noted = fs::metadata(entry).and_then(|meta| meta.modified());
    if noted.is_ok_and(|at| age(at, now) >= DAY)
        && let Err(error) = File::open(entry).and_then(|file| file.set_modified(now))
    {
        tracing::debug!(entry = %entry.display(), %error, "not noted as used");
    }
}

/// Deletes what nobody loaded for a month, and answers how many entries that were.
pub(super) fn delete(folder: &Path, now: SystemTime) -> io::Result<usize> {
    let mut deleted = 0;
    for file in fs::read_dir(folder)? {
        let file = file?;
        let path = file.path();
        if path.extension() == Some(OsStr::new("cwasm"))
            && age(file.metadata()?.modified()?, now) >= UNUSED
        {
            match fs::remove_file(&path) {
                Ok(()) => deleted += 1,
                // Another host opened the same folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(deleted)
}

/// How long ago, zero for a time to come.
fn age(at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_that_nobody_loaded_for_a_month_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let put = |name: &str, days: u32| {
            let path = folder.path().join(name);
            let file = File::create(&path).expect("a file");
            file.set_modified(now - DAY * days).expect("set");
            path
        };
        let old = put("old.cwasm", 31);
        let used = put("used.cwasm", 31);
        let young = put("young.cwasm", 29);
        let note = put("orders.last-good", 400);
        loaded(&used, now);
        assert_eq!(delete(folder.path(), now).expect("read"), 1);
        let left = [&old, &used, &young, &note].map(|path| path.exists());
        assert_eq!(left, [false, true, true, true]);
    }
}
