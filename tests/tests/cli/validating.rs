//! `wharf validate`.

use super::support::{CONFIG, World};

#[test]
fn a_sound_configuration() {
    World::new()
        .run(&["validate"])
        .ok()
        .matches("validate-sound");
}

#[test]
fn everything_that_is_wrong_at_once() {
    let world = World::new();
    world.write(
        "wharf.yaml",
        CONFIG
            .replace("max_retries: 0", "max_retrys: 0")
            .replace("topic: orders.late", "topic: 7")
            .replace("handler.wasm", "missing.wasm"),
    );
    let printed = world.run(&["validate"]);
    assert_eq!(printed.code, 78);
    for wrong in ["max_retrys", "topic", "missing.wasm"] {
        assert!(printed.err.contains(wrong), "{wrong}: {printed:#?}");
    }
    assert!(
        printed.err.ends_with(" errors in the configuration\n"),
        "{printed:#?}"
    );

    let printed = world.run(&["validate", "--json"]);
    assert_eq!(printed.code, 78);
    let report = &printed.json()[0];
    assert_eq!(report["valid"], false);
    let places: Vec<_> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["path"])
        .collect();
    assert!(
        places
            .iter()
            .any(|p| **p == "plugins.orders.retry.max_retrys"),
        "{report:#}"
    );
}

#[test]
fn a_component_that_cannot_run_is_named() {
    for (guest, why) in [
        ("wrong-export", "does not export `wharf:messaging/"),
        ("needs-http", "imports `wasi:http/"),
        ("not-a-component", "not a component but"),
    ] {
        let world = World::with_guest(guest);
        world.run(&["validate"]).ok();
        let printed = world.run(&["validate", "--components"]);
        assert_eq!(printed.code, 78, "{guest}: {printed:#?}");
        assert!(
            printed.err.starts_with("error: plugin `orders`: "),
            "{printed:#?}"
        );
        assert!(printed.err.contains(why), "{guest}: {printed:#?}");
        let report = world.run(&["validate", "--components", "--json"]);
        assert_eq!(report.code, 78);
        assert_eq!(report.json()[0]["valid"], false, "{guest}");
        assert_eq!(
            report.json()[0]["components"][0]["problems"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}

#[test]
fn a_component_that_runs() {
    let world = World::with_guest("puppet");
    let printed = world.run(&["validate", "--components", "--json"]).ok();
    assert_eq!(printed.json()[0]["valid"], true, "{printed:#?}");
}
