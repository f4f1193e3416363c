//! `examples/hello`.

use wharf_tests::plugins::until;

use crate::running::{Example, payload, sorted};

#[test]
fn its_messages_are_its_test_cases() {
    let example = Example::new("hello", "example-hello");
    let component = wharf_tests::guests::guest("example-hello");
    let printed = example.run(&[
        "test",
        component.to_str().unwrap(),
        "--messages",
        "messages.jsonl",
    ]);
    // As the README shows it.
    assert!(
        example.file("README.md").contains(printed.trim_end()),
        "{printed}"
    );
}

#[test]
fn greets_everybody_who_has_a_name() {
    let example = Example::new("hello", "example-hello");
    let host = example.start();
    example.run(&[
        "publish",
        "--to",
        "hello/visitors",
        "--file",
        "messages.jsonl",
    ]);
    let letters = || example.json(&["dlq", "show", "hello/visitors", "--json"]);
    until("three greetings and a dead letter", || {
        let greetings = example.lying("local", "greetings");
        (greetings.len() == 3 && letters().len() == 1).then_some(())
    });
    host.stop();
    let greetings = sorted(example.lying("local", "greetings").iter().map(payload));
    assert_eq!(greetings, example.expected());
    assert_eq!(letters()[0]["cause"], "rejected");
}
