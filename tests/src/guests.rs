//! The components that tests run, as `make guests` built them.

use std::path::{Path, PathBuf};

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

/// The target folder: the one above this program in which cargo keeps what it knows of the compiler.
///
/// # Panics
///
/// When called from a program that cargo did not build.
#[must_use]
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its own path");
    let is_target = |folder: &&Path| folder.join(".rustc_info.json").exists();
    let target = program.ancestors().find(is_target);
    target.expect("a target folder of cargo").to_owned()
}
