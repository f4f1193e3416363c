//! `wharf publish`, seen through `wharf tail`.

use super::support::World;

#[test]
fn one_message_with_everything() {
    let world = World::new();
    world
        .run(&[
            "publish",
            "events",
            "orders",
            "--payload",
            "{\"a\": 1}",
            "--key",
            "k",
            "--header",
            "source=web",
            "--header",
            "source=app",
            "--id",
            "m-1",
            "--priority",
            "3",
            "--content-type",
            "application/json",
            "--correlation-id",
            "c",
            "--reply-to",
            "answers",
        ])
        .ok()
        .matches("publish-one");
    world
        .run(&["tail", "events", "orders", "--json"])
        .ok()
        .matches("tail-json");
    world
        .run(&["tail", "events", "orders"])
        .ok()
        .matches("tail-human");
    world
        .run(&["tail", "events", "orders", "--payload", "hex"])
        .ok()
        .matches("tail-hex");
}

#[test]
fn a_file_and_back() {
    let world = World::new();
    let lines = r#"{"id":"1","key":"c-1","headers":{"source":"web"},"payload":{"order":1}}
{"id":"2","payload_text":"{\"cut\": "}

{"id":"3","payload_base64":"/wA=","key_base64":"/w=="}
{"id":"4","key":"gone","tombstone":true}
"#;
    world.write("messages.jsonl", lines);
    world
        .run(&[
            "publish",
            "--to",
            "orders/incoming",
            "--file",
            "messages.jsonl",
        ])
        .ok()
        .matches("publish-file");
    let copy = world
        .run(&["tail", "events", "orders", "--from-start", "--json"])
        .ok();
    copy.matches("tail-file");
    // What tail writes, publish takes.
    world
        .run_with(&["publish", "events", "copy", "--file", "-"], &copy.out)
        .ok();
    let again = world
        .run(&["tail", "events", "copy", "--from-start", "--json"])
        .ok();
    let without_place = |printed: &super::support::Printed| {
        let mut lines = printed.json();
        for line in &mut lines {
            line.as_object_mut().unwrap().remove("published");
        }
        lines
    };
    assert_eq!(without_place(&again), without_place(&copy));
}

#[test]
fn a_bad_line_is_named_and_what_was_before_it_counts() {
    let world = World::new();
    world.write(
        "bad.jsonl",
        "{\"id\":\"1\"}\n{\"paylod\":1}\n{\"id\":\"3\"}\n",
    );
    let printed = world.run(&["publish", "events", "orders", "--file", "bad.jsonl"]);
    assert_eq!(printed.code, 1);
    printed.matches("publish-bad-line");
    let there = world.run(&["tail", "events", "orders", "--json"]).ok();
    assert_eq!(there.json().len(), 1);

    let printed = world
        .run(&[
            "publish",
            "events",
            "skipping",
            "--file",
            "bad.jsonl",
            "--skip-bad",
            "--json",
        ])
        .ok();
    assert_eq!(printed.json()[0]["published"], 2, "{printed:#?}");
    assert_eq!(printed.json()[0]["skipped"], 1);
    assert!(
        printed
            .err
            .contains("line 2: skipped: unknown field `paylod`"),
        "{printed:#?}"
    );
}

#[test]
fn repeated_and_counted() {
    let world = World::new();
    let printed = world
        .run(&[
            "publish",
            "events",
            "orders",
            "--payload",
            "x",
            "--repeat",
            "2500",
            "--json",
        ])
        .ok();
    assert_eq!(printed.json()[0]["published"], 2500);
    let newest = world
        .run(&["tail", "events", "orders", "-n", "3", "--json"])
        .ok()
        .json();
    let places: Vec<_> = newest
        .iter()
        .map(|line| line["position"].as_str().unwrap())
        .collect();
    assert_eq!(places, ["2498", "2499", "2500"]);
}

#[test]
fn a_rate_is_kept() {
    let world = World::new();
    let arguments = [
        "publish",
        "events",
        "orders",
        "--payload",
        "x",
        "--repeat",
        "20",
        "--rate",
        "40/s",
        "--json",
    ];
    let printed = world.run(&arguments).ok();
    // The last of twenty is sent after 19/40 of a second; a batch is two of them.
    let seconds = printed.json()[0]["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.44, "{seconds}");
}

#[test]
fn a_broker_that_is_not_there_is_said_so() {
    let world = World::new();
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    world.write(
        "wharf.yaml",
        format!(
            "version: 1\nbrokers:\n  cache: {{ type: redis, url: redis://127.0.0.1:{port} }}\n"
        ),
    );
    let printed = world.run(&["publish", "cache", "orders", "--payload", "x", "--json"]);
    assert_eq!(printed.code, 1, "{printed:#?}");
    assert_eq!(printed.json()[0]["published"], 0);
    assert!(printed.err.contains("not confirmed"), "{printed:#?}");
    let printed = world.run(&["tail", "cache", "orders"]);
    assert_eq!(printed.code, 1, "{printed:#?}");
    assert!(printed.err.contains(&port.to_string()), "{printed:#?}");
}
