//! The components that tests run, as `make guests` built them.

use std::path::PathBuf;

/// The file of the guest called `name`.
///
/// # Panics
///
/// When it was not built: a suite that skips what it cannot find proves nothing.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let path = target().join("guests").join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing: run `make guests`",
        path.display()
    );
    path
}

/// The target folder: a test runs from `target/<profile>/deps/`.
///
/// # Panics
///
/// When called from anything but a test.
#[must_use]
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("target/debug/deps/test");
    target.to_owned()
}
