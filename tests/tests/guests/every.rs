//! One test per guest, by its name. A guest in `tests/guests` that has none here does not compile.

use serde_json::json;

use super::refused::refusal;
use super::{answer, host, message, order, outputs};

include!(concat!(env!("OUT_DIR"), "/each_guest.rs"));

macro_rules! is_run {
    ($guest:ident) => {
        const _: fn() = $guest;
    };
}
each_guest!(is_run);

#[test]
fn hello() {
    let host = host();
    let plugin = host.add("hello", |_| {});
    let handled = host.call(&plugin, message("{\"type\":\"user\",\"userId\":\"u1\"}"));
    handled.result.expect("an outcome");
}

#[test]
fn identity() {
    let host = host();
    let plugin = host.add("identity", |_| {});
    let out = outputs(host.call(&plugin, message("\u{0}any bytes")));
    assert_eq!(&*out[0].payload, b"\0any bytes");
}

#[test]
fn json_echo() {
    let host = host();
    let plugin = host.add("json-echo", |_| {});
    let handled = host.call(&plugin, message("{\"a\":1}"));
    handled.result.expect("an outcome");
}

#[test]
fn needs_http() {
    let said = refusal("needs-http");
    assert!(
        said.contains("imports `wasi:http/outgoing-handler@"),
        "{said}"
    );
    assert!(said.contains("--disable http fetch-event"), "{said}");
}

#[test]
fn noop() {
    let host = host();
    let plugin = host.add("noop", |_| {});
    assert_eq!(outputs(host.call(&plugin, message(""))), []);
}

#[test]
fn probe_trap() {
    let said = refusal("probe-trap");
    assert!(said.contains("does not start"), "{said}");
    assert!(said.contains("this component cannot start"), "{said}");
}

#[test]
fn puppet() {
    let host = host();
    let plugin = host.add("puppet", |_| {});
    assert_eq!(
        answer(host.call(&plugin, order(json!({"do": "recall"})))),
        json!(null)
    );
}

#[test]
fn wrong_export() {
    let said = refusal("wrong-export");
    assert!(
        said.contains("does not export `wharf:messaging/handler@0.1.0-rc`"),
        "{said}"
    );
    assert!(said.contains("example:greeter/greet"), "{said}");
}
