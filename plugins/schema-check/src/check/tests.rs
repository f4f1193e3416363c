use wharf_sdk::Kind;

use super::*;

const SCHEMA: &str = r##"{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": { "type": "string", "pattern": "^o-[0-9]+$" },
        "mail": { "type": "string", "format": "email" },
        "lines": { "type": "array", "items": { "$ref": "#/$defs/line" } }
    },
    "$defs": { "line": { "properties": { "cents": { "type": "integer", "minimum": 1 } } } }
}"##;

fn check<const N: usize>(settings: [(&str, &str); N]) -> Result<Check> {
    config::with(settings, || Check::new(&mut Settings::read()?))
}

fn pass(payload: &str) -> Result<Outgoing> {
    let message = Message::builder(payload).key("k").header("a", "1").build();
    check([("schema", SCHEMA)])?.pass(message)
}

/// Why it is rejected.
fn reason(payload: &str) -> String {
    let error = pass(payload).unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Reject, Some("schema")));
    error.reason().to_owned()
}

#[test]
fn what_is_valid_goes_on_byte_for_byte() {
    let payload = "{ \"id\": \"o-1\",\n \"lines\": [{\"cents\": 1.0}], \"more\": 1e2 }";
    let out = pass(payload).unwrap();
    assert_eq!(out.destination, "out");
    assert_eq!(out.payload, payload.as_bytes());
    assert_eq!(out.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(out.headers.len(), 1);
}

#[test]
fn what_is_wrong_is_named_by_its_pointer_and_not_quoted() {
    let said = reason(r#"{"id": "o-1", "lines": [{"cents": 5}, {"cents": "hunter2"}]}"#);
    assert_eq!(said, r#"/lines/1/cents: value is not of type "integer""#);
    let said = reason(r#"{"id": "hunter2", "lines": [{"cents": 0}]}"#);
    let expected = "/id: value does not match \"^o-[0-9]+$\"; \
                    /lines/0/cents: value is less than the minimum of 1";
    assert_eq!(said, expected);
    let said = reason("{}");
    assert_eq!(said, r#"(root): "id" is a required property"#);
}

#[test]
fn what_is_no_json_is_rejected_too() {
    for payload in ["", "not JSON", "{\"id\": \"o-1\"", "\u{feff}{}"] {
        assert!(reason(payload).starts_with("the payload is no JSON: "));
    }
    let deep = "[".repeat(100_000);
    assert!(reason(&deep).contains("recursion limit"));
}

#[test]
fn many_violations_and_long_names_stay_short() {
    let lines = [r#"{"cents": 0}"#; 9].join(",");
    let said = reason(&format!(r#"{{"id": "o-1", "lines": [{lines}]}}"#));
    assert_eq!(said.matches("/lines/").count(), SHOWN);
    assert!(said.ends_with("; and more"), "{said}");

    let strict = check([("schema", r#"{"additionalProperties": {"type": "string"}}"#)]).unwrap();
    let payload = format!(r#"{{"{}": 1}}"#, "ž".repeat(10_000));
    let error = strict.pass(Message::builder(payload).build()).unwrap_err();
    assert_eq!(error.reason().chars().count(), LONGEST + 1);
}

#[test]
fn formats_are_checked_as_the_draft_says_or_as_told() {
    let payload = r#"{"id": "o-1", "mail": "nobody"}"#;
    let passes = |check: Check| check.pass(Message::builder(payload).build()).is_ok();
    assert!(passes(check([("schema", SCHEMA)]).unwrap()));
    let told = [("schema", SCHEMA), ("check_formats", "true")];
    assert!(!passes(check(told).unwrap()));
    let draft_7 = SCHEMA.replace(
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
    );
    assert!(!passes(check([("schema", &*draft_7)]).unwrap()));
    let told = [("schema", &*draft_7), ("check_formats", "false")];
    assert!(passes(check(told).unwrap()));
}

#[test]
fn a_deletion_marker_has_nothing_to_check() {
    let check = check([("schema", SCHEMA)]).unwrap();
    let out = check.pass(Message::builder_tombstone("k").build()).unwrap();
    assert!(out.tombstone && out.payload.is_empty());
}

#[test]
fn a_schema_that_is_none_makes_messages_wait() {
    for (schema, said) in [
        ("{", "is no JSON"),
        (r#"{"type": "nonsense"}"#, "is no schema: /type"),
        (r##"{"$ref": "#/$defs/absent"}"##, "is no schema"),
        (r#"{"pattern": "("}"#, "is no schema"),
        (
            r#"{"$ref": "https://example.com/order.json"}"#,
            "is no schema",
        ),
    ] {
        let error = check([("schema", schema)]).err().unwrap();
        let got = (error.kind(), error.code());
        assert_eq!(got, (Kind::Unavailable, Some("config")), "{schema}");
        assert!(error.reason().contains(said), "{schema}: {error}");
    }
    let error = check([("check_formats", "true")]).err().unwrap();
    assert_eq!(error.reason(), "the setting `schema` is missing");
}
