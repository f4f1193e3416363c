//! Configurations as files: `config/good/*.yaml` must load and look like the `.json` beside them, `config/bad/*.yaml`
//! must be refused with exactly the text of the `.err` beside them. A folder with a `wharf.yaml` is one case of several
//! files. `UPDATE_SNAPSHOTS=1` writes what is new or changed; read the difference before committing it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod documentation;
mod properties;
mod secrets;
mod snapshot;

use std::path::{Path, PathBuf};

use serde_json::json;
use wharf::config::{self, Loaded, Report};

/// The only variables that the files see.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "HANDLER" => "handler",
        "RETRIES" => "5",
        "MEMORY" => "64MiB",
        "NO" => "false",
        "EMPTY" => "",
        "TRICKY" => "a: [1]\nb: \"${RETRIES}\" #",
        "WORD" => "hunter2",
        "HOME" => "/home/wharf",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The cases of a folder: every `.yaml`, and the `wharf.yaml` of every folder in it.
fn cases(folder: &str) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            if path.is_dir() {
                path.join("wharf.yaml")
            } else {
                path
            }
        })
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {folder}");
    cases
}

fn load(path: &Path) -> Result<Loaded, Report> {
    config::load(path, &env)
}

#[test]
fn good_files_load() {
    let mut snapshots = snapshot::Snapshots::new("config/good", "json");
    for path in cases("config/good") {
        let loaded = load(&path).unwrap_or_else(|report| panic!("{}:\n{report}", path.display()));
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let shown = json!({ "config": loaded.config, "warnings": warnings, "files": loaded.files });
        snapshots.compare(
            &path,
            &(serde_json::to_string_pretty(&shown).unwrap() + "\n"),
        );
    }
    snapshots.finish();
}

#[test]
fn bad_files_are_refused_with_all_that_is_wrong() {
    let mut snapshots = snapshot::Snapshots::new("config/bad", "err");
    for path in cases("config/bad") {
        let Err(report) = load(&path) else {
            panic!("{} was accepted", path.display())
        };
        let text = report.render(false);
        let json = serde_json::to_string(&report).unwrap();
        assert!(
            !text.contains("hunter2") && !json.contains("hunter2"),
            "{} shows a secret:\n{text}",
            path.display()
        );
        snapshots.compare(&path, &text);
    }
    snapshots.finish();
}

#[test]
fn a_report_has_every_place_for_scripts() {
    let report = load(Path::new("config/bad/unknown-key.yaml")).unwrap_err();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["diagnostics"][1],
        json!({
            "severity": "error",
            "file": "config/bad/unknown-key.yaml",
            "line": 11,
            "column": 7,
            "path": "plugins.audit.retry.max_retires",
            "message": "unknown key `max_retires`",
            "help": "did you mean `max_retries`?",
            "related": [],
        })
    );
}

#[test]
fn colours_come_only_when_they_are_asked_for() {
    let report = load(Path::new("config/bad/unknown-key.yaml")).unwrap_err();
    assert!(!report.render(false).contains('\x1b'));
    assert!(report.render(true).contains("\x1b["));
}

#[test]
fn files_that_are_none_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wharf.yaml");
    let refused = |want: &str| {
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains(want) && text.contains("wharf.yaml"), "{text}");
    };
    refused("No such file");
    std::fs::write(&path, b"version: \xff").unwrap();
    refused("this file is not UTF-8");
    std::fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    refused("this file is larger than 1 MiB");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused("this is a folder");
}

#[test]
fn the_cache_is_where_the_machine_keeps_caches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wharf.yaml");
    std::fs::write(&path, "version: 1\n").unwrap();
    let cache = |xdg: Option<&str>, home: Option<&str>| {
        let env = |name: &str| match name {
            "XDG_CACHE_HOME" => xdg.map(str::to_owned),
            "HOME" => home.map(str::to_owned),
            _ => None,
        };
        config::load(&path, &env).unwrap().config.host.cache
    };
    assert_eq!(cache(Some("/c"), Some("/h")), Path::new("/c/wharf"));
    assert_eq!(
        cache(Some("relative"), Some("/h")),
        Path::new("/h/.cache/wharf")
    );
    assert_eq!(cache(None, None), folder.path().join(".wharf/cache"));
}
