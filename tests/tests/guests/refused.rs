//! Components that never run: each is refused by name, before anything is consumed.

use std::path::PathBuf;

use wharf::plugin::{Error, inspect};
use wharf_tests::guests::guest;
use wharf_tests::plugins::settings;

use super::host;

/// The refusal of the guest `name`, after any version could have been installed.
pub(super) fn refusal(name: &str) -> String {
    let host = host();
    let error = host
        .try_add(settings("p", guest(name)))
        .err()
        .expect("refused");
    assert!(host.catalog.get("p").is_none());
    assert_eq!(
        host.metric("wharf_swaps_total{plugin=\"p\",result=\"refused\"}"),
        Some(1.0)
    );
    error.to_string()
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    assert!(
        refusal("not-a-component")
            .contains("not a component but a core module: build for wasm32-wasip2")
    );
}

#[test]
fn files_that_are_no_component_say_what_they_are() {
    let host = host();
    let folder = tempfile::tempdir().expect("a folder");
    let valid = std::fs::read(guest("noop")).expect("the guest");
    for (bytes, says) in [
        (&b""[..], "an empty file"),
        (b"#!/bin/sh\n", "not WebAssembly at all"),
        (&valid[..valid.len() / 2], "cannot be compiled"),
    ] {
        let path = folder.path().join("p.wasm");
        std::fs::write(&path, bytes).expect("written");
        let error = host
            .try_add(settings("p", &path))
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains(says), "{error}");
    }
    let missing = folder.path().join("missing.wasm");
    let error = host
        .try_add(settings("p", &missing))
        .err()
        .expect("refused");
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

#[test]
fn a_pinned_digest_must_match() {
    let host = host();
    let mut pinned = settings("p", guest("noop"));
    pinned.digest = Some(format!("sha256:{}", "0".repeat(64)));
    let error = host.try_add(pinned.clone()).err().expect("refused");
    let Error::Digest { found, .. } = error else {
        panic!("{error}");
    };
    pinned.digest = Some(found);
    host.try_add(pinned).expect("the right digest");
}

#[test]
fn inspection_says_what_a_component_would_need() {
    let host = host();
    let look = |path: PathBuf| {
        let store = std::sync::Arc::clone(&host.store);
        host.run(async move { inspect(&store, &path).await })
    };
    let found = look(guest("needs-http")).expect("a component");
    assert!(
        found
            .exports
            .iter()
            .any(|name| name == "wharf:messaging/handler@0.1.0-rc")
    );
    let http = found
        .imports
        .iter()
        .find(|import| import.name.starts_with("wasi:http/"));
    assert_eq!(
        http.expect("the import").need,
        wharf::plugin::Need::Unsupported
    );
    assert!(
        found
            .refusal
            .expect("refused")
            .to_string()
            .contains("wasi:http")
    );
    let found = look(guest("noop")).expect("a component");
    assert!(found.refusal.is_none());
    assert_eq!(
        found.size,
        std::fs::metadata(guest("noop")).expect("the file").len()
    );
    assert!(matches!(
        look(guest("not-a-component")),
        Err(Error::NotAComponent(_))
    ));
}
