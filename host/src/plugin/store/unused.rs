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
        let keeps = match path.extension() {
            Some(extension) if extension == "cwasm" => UNUSED,
            // What a host that was killed was compiling.
            _ if is_temporary(&path) => DAY,
            _ => continue,
        };
        if age(file.metadata()?.modified()?, now) >= keeps {
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

/// As `tempfile` calls them.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with(".tmp"))
}

/// How long ago, zero for a time to come.
fn age(at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_that_nobody_loaded_for_a_month_go_and_what_was_never_finished() {
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
        let unfinished = put(".tmpQx91Ab", 2);
        let under_way = put(".tmpQx92Ab", 0);
        loaded(&used, now);
        assert_eq!(delete(folder.path(), now).expect("read"), 2);
        let all = [&old, &used, &young, &note, &unfinished, &under_way];
        let left = all.map(|path| path.exists());
        assert_eq!(left, [false, true, true, true, false, true]);
    }
}
