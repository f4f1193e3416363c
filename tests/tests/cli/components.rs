//! `wharf inspect` and `wharf test`.

use std::path::Path;

use serde_json::json;
use wharf_tests::guests::guest;

use super::support::World;

fn of(name: &str) -> String {
    guest(name).to_str().unwrap().to_owned()
}

#[test]
fn what_a_component_is() {
    let world = World::new();
    let printed = world.run(&["inspect", &of("puppet"), "--json"]).ok();
    let found = &printed.json()[0];
    assert_eq!(found["runs"], true, "{found:#}");
    assert_eq!(
        found["size"],
        std::fs::metadata(guest("puppet")).unwrap().len()
    );
    let exports = found["exports"].as_array().unwrap();
    assert!(
        exports
            .iter()
            .any(|e| e.as_str().unwrap().starts_with("wharf:messaging/")),
        "{found:#}"
    );

    let printed = world.run(&["inspect", &of("needs-http"), "--json"]);
    assert_eq!(printed.code, 1);
    assert!(
        printed.json()[0]["refusal"]
            .as_str()
            .unwrap()
            .contains("wasi:http/"),
        "{printed:#?}"
    );
    let human = world.run(&["inspect", &of("needs-http")]);
    assert!(human.out.contains("not supported"), "{human:#?}");

    let printed = world.run(&["inspect", &of("not-a-component")]);
    assert_eq!(printed.code, 1);
    assert!(printed.err.contains("not a component but"), "{printed:#?}");
}

#[test]
fn the_fixture_of_all_languages_passes() {
    let world = World::new();
    let fixture = Path::new("fixtures/hello.jsonl").canonicalize().unwrap();
    let lines = std::fs::read_to_string(&fixture).unwrap().lines().count();
    let printed = world
        .run(&[
            "test",
            &of("hello"),
            "--messages",
            fixture.to_str().unwrap(),
        ])
        .ok();
    assert!(
        printed
            .out
            .ends_with(&format!("{lines} passed, 0 failed\n")),
        "{printed:#?}"
    );
}

#[test]
fn a_mismatch_is_shown_and_fails() {
    let world = World::new();
    world.write(
        "cases.jsonl",
        concat!(
            r#"{"name":"as it should be","payload":{"do":"reject","reason":"no","code":"c"},"expect":{"reject":{"code":"c"}}}"#,
            "\n",
            r#"{"name":"another code","payload":{"do":"reject","reason":"no","code":"c"},"expect":{"reject":{"code":"d"}}}"#,
            "\n",
            r#"{"name":"a trap","payload":{"do":"panic","text":"boom"},"expect":{"accept":[]}}"#,
            "\n",
            r#"{"name":"a trap that is meant","payload":{"do":"panic"},"expect":{"fault":{"kind":"trap"}}}"#,
            "\n",
        ),
    );
    let printed = world.run(&["test", &of("puppet"), "--messages", "cases.jsonl"]);
    assert_eq!(printed.code, 1, "{printed:#?}");
    assert!(
        printed.out.contains("pass as it should be\n"),
        "{}",
        printed.out
    );
    assert!(
        printed.out.contains("FAIL another code\n"),
        "{}",
        printed.out
    );
    assert!(
        printed.out.contains("-     \"code\": \"d\"\n"),
        "{}",
        printed.out
    );
    assert!(
        printed.out.contains("+     \"code\": \"c\"\n"),
        "{}",
        printed.out
    );
    assert!(
        printed.out.contains("boom"),
        "what it said on stderr: {}",
        printed.out
    );
    assert!(
        printed.out.ends_with("2 passed, 2 failed\n"),
        "{}",
        printed.out
    );

    let printed = world.run(&["test", &of("puppet"), "--messages", "cases.jsonl", "--json"]);
    let passed: Vec<_> = printed
        .json()
        .into_iter()
        .map(|line| line["passed"].clone())
        .collect();
    assert_eq!(
        passed,
        [json!(true), json!(false), json!(false), json!(true)]
    );
    assert_eq!(printed.json()[2]["fault"]["kind"], "trap");
}

#[test]
fn expectations_of_their_own() {
    let world = World::new();
    world.write(
        "messages.jsonl",
        "{\"payload\":{\"do\":\"retry\",\"reason\":\"later\"}}\n",
    );
    world.write("expected.jsonl", "{\"retry\":{}}\n");
    let arguments = [
        "test",
        &of("puppet"),
        "--messages",
        "messages.jsonl",
        "--expect",
        "expected.jsonl",
    ];
    world.run(&arguments).ok();
    world.write("expected.jsonl", "{\"accept\":[]}\n");
    assert_eq!(world.run(&arguments).code, 1);
    world.write("expected.jsonl", "{\"retry\":{}}\n{\"retry\":{}}\n");
    let printed = world.run(&arguments);
    assert_eq!(printed.code, 64, "{printed:#?}");
    assert!(
        printed.err.contains("2 expectations for 1 messages"),
        "{printed:#?}"
    );
}

#[test]
fn destinations_are_free_until_a_configuration_grants_them() {
    let world = World::with_guest("puppet");
    let payload = r#"{"do":"echo","to":"elsewhere"}"#;
    let free = world
        .run(&["test", "handler.wasm", "--payload", payload, "--json"])
        .ok();
    assert_eq!(
        free.json()[0]["outcome"]["accept"][0]["destination"],
        "elsewhere",
        "{free:#?}"
    );
    let arguments = [
        "test",
        "handler.wasm",
        "--payload",
        payload,
        "--json",
        "-c",
        "wharf.yaml",
        "--plugin",
        "orders",
    ];
    let granted = world.run(&arguments).ok();
    assert_eq!(granted.json()[0]["fault"]["kind"], "denied", "{granted:#?}");
}
