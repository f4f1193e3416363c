//! The jars of a Kafka server, fetched from Maven Central once and kept in the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guests::target;

/// What to fetch.
const POM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/pom.xml");

/// The folder of the jars. Of several processes that want it at once, one fetches and the others wait.
pub(super) fn fetched() -> PathBuf {
    let folder = target().join("kafka");
    fs::create_dir_all(&folder).expect("a folder for the jars");
    let lock = File::create(folder.join("lock")).expect("a lock");
    lock.lock().expect("locked");
    // Named after what it holds: another version is another folder.
    let pom = fs::read(POM).expect("the list of jars");
    let jars = folder.join(format!("jars-{:016x}", fingerprint(&pom)));
    if !jars.exists() {
        let part = folder.join("part");
        if part.exists() {
            fs::remove_dir_all(&part).expect("what an earlier try left can be removed");
        }
        fetch(&part);
        fs::rename(&part, &jars).expect("in place");
    }
    jars
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

/// FNV-1a: the same in every build, unlike the standard library's hashes.
fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
