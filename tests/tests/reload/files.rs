//! The ways a file changes. Each is tried under continuous calls.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use wharf_tests::guests::guest;
use wharf_tests::plugins::until;

use super::{Calls, Watched, put};

/// Runs `change` on the file of a plugin that is being called. The plugin must get from `identity` to `puppet`, which
/// does the same, in one step and without a call being lost.
fn swapped_by(component: &Path, change: impl FnOnce(&Watched)) {
    let watched = Watched::start(component);
    let old = watched.digest();
    let calls = Calls::start(&watched);
    calls.go_on();
    change(&watched);
    let new = watched.swapped_from(&old);
    let status = || watched.plugin.status();
    until("the old version's instances are gone", || {
        let status = status();
        let own = status.version.map_or(0, |version| version.instances);
        (own > 0 && i64::try_from(own) == Ok(status.instances)).then_some(())
    });
    calls.go_on();
    for versions in calls.stop(&watched.host) {
        assert_eq!(
            versions,
            [old.clone(), new.clone()],
            "from one to the other, once"
        );
    }
    assert_eq!(watched.swaps("swapped"), 1, "the load at start is none");
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("handler.wasm");
    put("identity", &component);
    (folder, component)
}

#[test]
fn changed_bytes_are_taken_up() {
    let (_folder, component) = folder();
    swapped_by(&component, |_| put("puppet", &component));
}

#[test]
fn a_rename_is_taken_up() {
    let (folder, component) = folder();
    swapped_by(&component, |_| {
        let next = folder.path().join(".next");
        put("puppet", &next);
        fs::rename(&next, &component).expect("renamed");
    });
}

#[test]
fn a_file_that_is_removed_and_comes_back_is_taken_up() {
    let (_folder, component) = folder();
    swapped_by(&component, |watched| {
        let old = watched.digest();
        fs::remove_file(&component).expect("removed");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(watched.digest(), old, "what was loaded runs on");
        put("puppet", &component);
    });
}

#[test]
fn a_half_written_file_changes_nothing_and_the_whole_one_is_taken_up() {
    let (_folder, component) = folder();
    swapped_by(&component, |watched| {
        let old = watched.digest();
        let bytes = fs::read(guest("puppet")).expect("the guest");
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let mut file = fs::File::create(&component).expect("opened");
        file.write_all(half).expect("written");
        file.sync_all().expect("synced");
        // Long enough that it counts as settled: it is looked at, and refused.
        until("refused", || (watched.swaps("refused") == 1).then_some(()));
        assert_eq!(watched.digest(), old);
        file.write_all(rest).expect("written");
    });
}

#[test]
fn a_file_that_is_still_being_written_is_left_alone() {
    let (_folder, component) = folder();
    swapped_by(&component, |watched| {
        let old = watched.digest();
        let bytes = fs::read(guest("puppet")).expect("the guest");
        let mut file = fs::File::create(&component).expect("opened");
        let end = Instant::now() + Duration::from_millis(600);
        let mut chunks = bytes.chunks(bytes.len() / 30);
        while Instant::now() < end {
            if let Some(chunk) = chunks.next() {
                file.write_all(chunk).expect("written");
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        for chunk in chunks {
            file.write_all(chunk).expect("written");
        }
        drop(file);
        let _new = watched.swapped_from(&old);
        assert_eq!(watched.swaps("refused"), 0, "no half of it was tried");
    });
}

#[test]
fn the_switched_link_of_a_mounted_config_map_is_taken_up() {
    // handler.wasm → ..data/handler.wasm, ..data → ..1: an update makes ..2 and renames a new ..data over the old.
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (version, guest) in [("..1", "identity"), ("..2", "puppet")] {
        fs::create_dir(at(version)).expect("made");
        put(guest, &at(version).join("handler.wasm"));
    }
    symlink("..1", at("..data")).expect("linked");
    symlink("..data/handler.wasm", at("handler.wasm")).expect("linked");
    swapped_by(&at("handler.wasm"), |_| {
        symlink("..2", at("..data_tmp")).expect("linked");
        fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
        fs::remove_dir_all(at("..1")).expect("removed");
    });
}

#[test]
fn the_same_bytes_again_are_no_new_version() {
    let (_folder, component) = folder();
    let watched = Watched::start(&component);
    let loaded = watched
        .plugin
        .status()
        .version
        .expect("a version")
        .loaded_at;
    put("identity", &component);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(
        watched
            .plugin
            .status()
            .version
            .expect("a version")
            .loaded_at,
        loaded
    );
    assert_eq!((watched.swaps("swapped"), watched.swaps("refused")), (0, 0));
}
