//! The jars of a Kafka server, fetched from Maven Central once and kept in the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fetched;

/// What to fetch.
const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/pom.xml");

/// The folder of the jars.
pub(super) fn fetched() -> PathBuf {
    fetched::once("kafka", Path::new(POM), fetch)
}

fn fetch(into: &Path) {
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f", POM, "dependency:copy-dependencies"])
        .arg(format!("-DoutputDirectory={}", into.display()))
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "the jars of Kafka cannot be fetched from Maven Central ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout)
        ),
        Err(e) => panic!("mvn cannot be started ({e}): apt-get install maven"),
    }
}
