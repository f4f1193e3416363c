//! Every folder of `plugins/` does what its README says, with the program and the components as they are shipped.
//!
//! The configuration is the README's own, in a folder of the test's. The messages are those of `messages.jsonl`: first
//! tried by `wharf test`, then published to a running host, outputs and dead letters read from the brokers.

mod audit_log;
mod bridge;
mod schema_check;
mod settings;
mod shipped;

use std::collections::BTreeSet;

use shipped::Shipped;

/// One module per name: a folder that is not here is not run by anybody.
const RUN: [&str; 3] = ["audit-log", "bridge", "schema-check"];
/// What they share.
const NO_COMPONENT: &str = "common";

#[test]
fn every_plugin_is_run() {
    let folders = std::fs::read_dir("../plugins").unwrap();
    let found: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().path())
        .filter(|folder| folder.is_dir())
        .map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != NO_COMPONENT)
        .collect();
    assert_eq!(found, RUN.map(str::to_owned).into());
}

#[test]
fn the_index_has_every_plugin() {
    let index = std::fs::read_to_string("../plugins/README.md").unwrap();
    for name in RUN {
        assert!(index.contains(&format!("| [{name}]({name}) |")), "{name}");
    }
}

#[test]
fn messages_are_test_cases() {
    for name in RUN {
        let plugin = Shipped::new(name);
        let cases = plugin.messages().len();
        assert!(cases > 0, "{name} has no messages");
        let printed = plugin.run(&[
            "test",
            &format!("{name}.wasm"),
            "--messages",
            plugin.file("messages.jsonl").to_str().unwrap(),
            "--config",
            "wharf.yaml",
            "--plugin",
            plugin.name(),
        ]);
        let sum = format!("{cases} passed, 0 failed");
        assert_eq!(printed.lines().last(), Some(&*sum), "{name}: {printed}");
    }
}
