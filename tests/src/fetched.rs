//! What tests fetch from a package registry, once, and keep in the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::guests::target;

/// The folder with what `list` names, made by `fetch` where it is missing. Of several processes that want it at once, one
/// fetches and the others wait.
///
/// # Panics
///
/// When files cannot be read or written.
pub(crate) fn once(kind: &str, list: &Path, fetch: impl FnOnce(&Path)) -> PathBuf {
    let folder = target().join(kind);
    fs::create_dir_all(&folder).expect("a folder for what is fetched");
    let lock = File::create(folder.join("lock")).expect("a lock");
    lock.lock().expect("locked");
    // Named after what it holds: another version is another folder.
    let named = fs::read(list).expect("a list of what to fetch");
    let there = folder.join(format!("fetched-{:016x}", fingerprint(&named)));
    if !there.exists() {
        let part = folder.join("part");
        if part.exists() {
            fs::remove_dir_all(&part).expect("what an earlier try left can be removed");
        }
        fetch(&part);
        fs::rename(&part, &there).expect("in place");
    }
    there
}

/// FNV-1a: the same in every build, unlike the standard library's hashes.
fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
