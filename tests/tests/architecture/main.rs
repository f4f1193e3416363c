//! The shape of the source: which room may know which, and what every file keeps to.
//!
//! The table is [`rooms::TABLE`]; `host/ARCHITECTURE.md` tells people the same and is held to it here. Every check is a
//! function over a folder, so that each is also shown a tree that breaks it.

mod bad_trees;
mod files;
mod imports;
mod rooms;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn none(what: &str, violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{what}:\n  {}",
        violations.join("\n  ")
    );
}

/// Lists longer than one line come back sorted: failures read the same everywhere.
fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all.dedup();
    all
}

#[test]
fn rooms_know_only_what_they_may() {
    let edges = imports::of(&root().join("host/src"));
    // Nothing read would be nothing wrong.
    assert!(edges.len() > 300, "only {} uses were found", edges.len());
    none("forbidden uses", &rooms::violations(&edges));
}

#[test]
fn debts_are_still_owed() {
    let edges = imports::of(&root().join("host/src"));
    let paid: Vec<String> = rooms::DEBTS
        .iter()
        .filter(|(from, to)| !edges.iter().any(|e| e.room == *from && e.uses() == *to))
        .map(|(from, to)| {
            format!("{from} no longer uses {to}: take it out of DEBTS and of the page")
        })
        .collect();
    none("debts that were paid", &paid);
}

#[test]
fn every_room_of_the_tree_is_in_the_table() {
    none("rooms", &rooms::unlisted(&root().join("host/src")));
}

#[test]
fn the_page_says_what_the_table_says() {
    let page = std::fs::read_to_string(root().join("host/ARCHITECTURE.md")).unwrap();
    none("host/ARCHITECTURE.md", &rooms::differences(&page));
}

#[test]
fn the_sdk_has_the_contract_byte_for_byte() {
    none(
        "wit/ and sdk/rust/wit/",
        &files::unequal(&root().join("wit"), &root().join("sdk/rust/wit")),
    );
}

#[test]
fn files_are_short_and_none_is_called_mod() {
    let folders = [
        "host/src",
        "sdk/rust/src",
        "sdk/rust/macros/src",
        "bench/src",
        "tests/src",
        "tests/tests",
    ];
    let found = folders
        .iter()
        .flat_map(|folder| files::violations(&root().join(folder)))
        .collect();
    none("files", &sorted(found));
}
