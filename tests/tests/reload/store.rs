//! Compiled code: kept, made anew where it is not sound, never taken from others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::time::Instant;
use wharf::plugin::{CodeStore, Compiler, Error};
use wharf_tests::guests::guest;
use wharf_tests::plugins::{Host, engine, message, settings};

use super::COMPILER;

fn host(code: &Path, compiler: &str) -> Host {
    Host::start_with(engine(), code, compiler)
}

fn entries(code: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(code).expect("the folder");
    files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cwasm"))
        .collect()
}

#[test]
fn a_component_from_the_store_is_ready_at_once_and_needs_no_compiler() {
    let folder = tempfile::tempdir().expect("a folder");
    host(folder.path(), COMPILER)
        .try_add(settings("p", guest("puppet")))
        .expect("compiled");
    assert_eq!(entries(folder.path()).len(), 1);
    let host = host(folder.path(), "/nonexistent/compiler");
    let mut took: Vec<_> = (0..20)
        .map(|n| {
            let start = Instant::now();
            host.try_add(settings(&format!("p{n}"), guest("puppet")))
                .expect("from the store");
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("ready in {:?} (median), {:?} (worst)", took[10], took[19]);
}

#[test]
fn damaged_code_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    host(folder.path(), COMPILER)
        .try_add(settings("p", guest("noop")))
        .expect("compiled");
    let entry = entries(folder.path()).remove(0);
    let sound = fs::read(&entry).expect("the code");
    for damaged in [&b""[..], b"rubbish", &sound[..sound.len() / 2]] {
        fs::write(&entry, damaged).expect("written");
        let host = host(folder.path(), COMPILER);
        let plugin = host
            .try_add(settings("p", guest("noop")))
            .expect("compiled again");
        host.call(&plugin, message("x")).result.expect("handled");
        assert_eq!(
            fs::metadata(&entry).expect("the code").len(),
            sound.len() as u64
        );
    }
}

#[test]
fn a_folder_others_can_write_to_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || CodeStore::open(folder.path(), Compiler::InProcess);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("changed");
    let error = open().expect_err("refused");
    assert!(matches!(error, Error::Store { .. }));
    assert!(error.to_string().contains("chmod 700"), "{error}");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("changed");
    open().expect("ours");
    let made = folder.path().join("a/b");
    CodeStore::open(&made, Compiler::InProcess).expect("made");
    assert_eq!(
        fs::metadata(&made).expect("made").permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn a_compiler_that_fails_is_an_error_with_its_own_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
        path.to_str().expect("text").to_owned()
    };
    for (compiler, says) in [
        (
            script("says", "#!/bin/sh\necho out of luck >&2; exit 1\n"),
            "out of luck",
        ),
        (script("dies", "#!/bin/sh\nkill -9 $$\n"), "signal: 9"),
        (script("lies", "#!/bin/sh\nexit 0\n"), "cannot be loaded"),
        ("/nonexistent/compiler".into(), "cannot be started"),
    ] {
        let host = host(&folder.path().join("code"), &compiler);
        let error = host
            .try_add(settings("p", guest("noop")))
            .err()
            .expect("refused");
        assert!(error.to_string().contains(says), "{error}");
        let files = fs::read_dir(folder.path().join("code")).expect("the folder");
        assert_eq!(files.count(), 0, "nothing is left behind");
    }
}

#[test]
fn what_is_compiled_does_not_outlive_its_patience() {
    // A component is untrusted before it is compiled: the compiler is killed with the load that wanted it.
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("pid");
    let path = folder.path().join("slow");
    fs::write(
        &path,
        format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", mark.display()),
    )
    .expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    let host = host(&folder.path().join("code"), path.to_str().expect("text"));
    let catalog = std::sync::Arc::clone(&host.catalog);
    host.runtime
        .handle()
        .spawn(async move { catalog.add(settings("p", guest("noop"))).await });
    let pid = wharf_tests::plugins::until("it runs", || {
        fs::read_to_string(&mark).ok()?.trim().parse::<u32>().ok()
    });
    drop(host);
    wharf_tests::plugins::until("it is gone", || {
        let state = fs::read_to_string(format!("/proc/{pid}/stat"));
        state
            .map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    });
}
