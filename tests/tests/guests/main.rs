//! Every hostile guest, and what becomes of it.

mod host;

use host::{Host, json, message};
use wharf::handler::{FaultKind, Outcome};

#[test]
fn smoke() {
    let host = Host::start();
    let plugin = host.add("puppet", |_| {});
    let done = host.call(&plugin, message("not an order"));
    assert_eq!(done.result.map(|o| matches!(o, Outcome::Done(out) if out.len() == 1)), Ok(true));
    for order in ["panic", "trap", "overflow", "leak", "spin", "exit", "probe"] {
        let body = if order == "exit" { serde_json::json!({"do": order, "code": 0}) } else { serde_json::json!({"do": order}) };
        let handled = host.call(&plugin, json(body));
        println!("{order}: {handled:#?}");
    }
    let slow = host.call(&plugin, json(serde_json::json!({"do": "sleep", "ms": 5000})));
    println!("{slow:?}");
    assert_eq!(slow.result.unwrap_err().kind, FaultKind::Deadline);
    let n = 20000;
    let noop = host.add("noop", |_| {});
    host.bench(&noop, n);
}
