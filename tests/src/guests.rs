//! The components that tests run, as `make guests` built them.

use std::path::PathBuf;

/// The file of the guest called `name`.
///
/// # Panics
///
/// When it was not built: a suite that skips what it cannot find proves nothing.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let path = folder().join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is missing: run `make guests`",
        path.display()
    );
    path
}

/// Where built guests lie: beside the profile's folder in the target folder, which is where the test itself runs from.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("target/debug/deps/test");
    target.join("guests")
}
