//! What is printed where the command line itself is wrong, and what needs no configuration.

use super::support::World;

#[test]
fn wrong_usage_is_64() {
    let world = World::new();
    for arguments in [
        &["frobnicate"][..],
        &["publish", "events", "orders"],
        &["publish", "events", "--payload", "x"],
        &[
            "publish",
            "events",
            "orders",
            "--payload",
            "x",
            "--rate",
            "fast",
        ],
        &["publish", "nowhere", "orders", "--payload", "x"],
        &["publish", "--to", "orders/none", "--payload", "x"],
        &["publish", "--to", "orders", "--payload", "x"],
        &["dlq", "redrive", "orders/incoming"],
        &["dlq", "show", "orders/incoming", "--cause", "traps"],
        &["test", "handler.wasm"],
    ] {
        let printed = world.run(arguments);
        assert_eq!(printed.code, 64, "{arguments:?}: {printed:#?}");
        assert_eq!(printed.out, "", "{arguments:?}");
        assert!(!printed.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_name_that_does_not_exist_is_answered_with_those_that_do() {
    let world = World::new();
    world
        .run(&["publish", "--to", "orders/none", "--payload", "x"])
        .matches("unknown-subscription");
    world
        .run(&["tail", "nowhere", "orders"])
        .matches("unknown-broker");
}

#[test]
fn every_command_explains_itself() {
    let world = World::new();
    for command in [
        "run",
        "validate",
        "publish",
        "tail",
        "dlq",
        "inspect",
        "test",
        "schema",
        "completions",
    ] {
        let printed = world.run(&[command, "--help"]).ok();
        assert!(
            printed.out.contains("Usage: wharf"),
            "{command}: {printed:#?}"
        );
    }
}

#[test]
fn the_schema_is_the_one_configurations_are_checked_against() {
    let printed = World::new().run(&["schema"]).ok();
    let schema: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(schema, wharf::config::json_schema());
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let printed = World::new().run(&["completions", shell]).ok();
        assert!(printed.out.contains("redrive"), "{shell}");
    }
}

#[test]
fn a_reader_that_had_enough_is_no_failure() {
    let world = World::new();
    let mut child = world.command(&["schema"]).spawn().unwrap();
    drop(child.stdout.take());
    let printed = world.finish(child);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
}
