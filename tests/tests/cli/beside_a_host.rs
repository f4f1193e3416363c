//! Commands while a host has the file open: rejected, listed, redriven, handled.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::support::World;

/// A host that is stopped, whatever becomes of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill().is_ok();
        let _reaped = self.0.wait().is_ok();
    }
}

/// Looks until it is so, for at most a minute: a host compiles its component first.
fn until(what: &str, so: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(
            tokio::time::Instant::now() < end,
            "{what}: not within a minute"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn letters(world: &World) -> u64 {
    let listed = world.run(&["dlq", "list", "--json"]).ok().json();
    listed
        .iter()
        .map(|one| one["letters"].as_u64().unwrap())
        .sum()
}

#[test]
fn rejected_listed_redriven_and_rejected_again() {
    let world = World::with_guest("puppet");
    let mut child = world.command(&["run"]).spawn().unwrap();
    // Its log is read, or the pipe would fill up; what it says at the start is looked at below.
    let stderr = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .collect::<Vec<String>>()
    });
    let running = Running(child);

    let reject = r#"{"do":"reject","reason":"no","code":"c"}"#;
    world
        .run(&[
            "publish",
            "--to",
            "orders/incoming",
            "--payload",
            reject,
            "--repeat",
            "3",
        ])
        .ok();
    until("three letters", || letters(&world) == 3);
    let shown = world
        .run(&["dlq", "show", "orders/incoming", "--json"])
        .ok()
        .json();
    assert_eq!(shown.len(), 3);
    for letter in &shown {
        assert_eq!(
            (&letter["cause"], &letter["code"], &letter["attempts"]),
            (&"rejected".into(), &"c".into(), &1.into())
        );
        assert_eq!(letter["message"]["payload_text"], reject);
    }

    // Every letter comes back once, and none twice, although they fail again while they are being sent back.
    let redriven = world
        .run(&["dlq", "redrive", "orders/incoming", "--all", "--json"])
        .ok();
    assert_eq!(redriven.json()[0]["redriven"], 3);
    until("three letters, sent back once", || {
        let shown = world
            .run(&["dlq", "show", "orders/incoming", "--json"])
            .ok()
            .json();
        shown.len() == 3 && shown.iter().all(|l| l["redrives"] == 1)
    });

    drop(running);
    let log = log.join().unwrap();
    let consuming = |line: &&String| {
        serde_json::from_str::<Value>(line)
            .is_ok_and(|l| l["message"] == "consuming" && l["source"] == "orders")
    };
    assert_eq!(log.iter().filter(consuming).count(), 1, "{log:#?}");
}

#[test]
fn tail_follows_what_another_process_publishes() {
    let world = World::new();
    world
        .run(&[
            "publish",
            "events",
            "orders",
            "--payload",
            "before",
            "--id",
            "0",
        ])
        .ok();
    let mut child = world
        .command(&["tail", "events", "orders", "--follow", "--json"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _running = Running(child);
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["id"], "0");
    for id in ["1", "2"] {
        world
            .run(&["publish", "events", "orders", "--payload", "x", "--id", id])
            .ok();
        assert_eq!(next()["id"], id);
    }
}

#[test]
fn a_component_at_fault_ends_with_78_before_anything_is_consumed() {
    let world = World::with_guest("wrong-export");
    let printed = world.run(&["run"]);
    assert_eq!(printed.code, 78, "{printed:#?}");
    assert!(printed.err.contains("does not export"), "{printed:#?}");
}
