//! One row per hostile action: what the host makes of it, and that the next message does not suffer.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wharf::handler::FaultKind::{BadOutput, Deadline, Denied, Memory, Trap};
use wharf::handler::{Fault, FaultKind};

use super::{host, order, outputs};

const DEADLINE: Duration = Duration::from_millis(300);

/// What is expected of a fault: its kind, and a part of its message, of its frames and of its stderr.
struct Row {
    order: Value,
    kind: FaultKind,
    says: &'static str,
    frame: &'static str,
    stderr: &'static str,
}

fn row(order: Value, kind: FaultKind, says: &'static str) -> Row {
    Row {
        order,
        kind,
        says,
        frame: "",
        stderr: "",
    }
}

impl Row {
    fn frame(mut self, frame: &'static str) -> Self {
        self.frame = frame;
        self
    }

    fn stderr(mut self, stderr: &'static str) -> Self {
        self.stderr = stderr;
        self
    }

    fn check(&self, fault: &Fault) {
        let has = |lines: &[String], part: &str| {
            part.is_empty() || lines.iter().any(|l| l.contains(part))
        };
        let order = &self.order;
        assert_eq!(fault.kind, self.kind, "{order}: {fault:?}");
        assert!(
            fault.message.contains(self.says),
            "{order}: {}",
            fault.message
        );
        assert!(
            has(&fault.backtrace, self.frame),
            "{order}: {:?}",
            fault.backtrace
        );
        assert!(
            fault.backtrace.len() <= 32,
            "{order}: {} frames",
            fault.backtrace.len()
        );
        assert!(
            has(&fault.stderr, self.stderr),
            "{order}: {:?}",
            fault.stderr
        );
    }
}

fn rows() -> Vec<Row> {
    let accept = |output: Value| json!({"do": "accept", "outputs": [output]});
    vec![
        row(
            json!({"do": "panic", "text": "no such order"}),
            Trap,
            "panicked at puppet/src/",
        )
        .frame("puppet::act")
        .stderr("no such order"),
        row(json!({"do": "trap"}), Trap, "unreachable").frame("puppet::act::act"),
        row(json!({"do": "overflow"}), Trap, "").frame("overflow"),
        row(json!({"do": "spin"}), Deadline, "deadline of 300 ms").frame("spin"),
        row(
            json!({"do": "burn", "ms": 60_000}),
            Deadline,
            "deadline of 300 ms",
        ),
        row(
            json!({"do": "sleep", "ms": 60_000}),
            Deadline,
            "waiting in a host call",
        ),
        row(json!({"do": "leak"}), Memory, "its limit is 128 MiB").frame("leak"),
        row(
            json!({"do": "grow", "bytes": 200 << 20}),
            Memory,
            "its limit is 128 MiB",
        ),
        row(json!({"do": "exit", "code": 0}), Trap, "exit(0)"),
        row(json!({"do": "exit", "code": 3}), Trap, "exit(1)"),
        row(
            accept(json!({"count": 1025})),
            BadOutput,
            "1025 outputs, at most 1024",
        ),
        row(
            accept(json!({"size": 1 << 20})),
            BadOutput,
            "bytes of output",
        ),
        row(
            accept(json!({"size": 30 << 20})),
            BadOutput,
            "larger than `limits.output`",
        ),
        row(
            accept(json!({"destination": "elsewhere"})),
            Denied,
            "`elsewhere` is not granted",
        ),
        row(
            accept(json!({"topic": "other"})),
            Denied,
            "the topic `other`",
        ),
        row(json!({"do": "reply", "text": "hi"}), Denied, "not granted").stderr("answering hi"),
    ]
}

#[test]
fn every_hostile_act_is_its_own_fault_and_the_next_message_is_handled() {
    let host = host();
    let plugin = host.add("puppet", |settings| settings.limits.deadline = DEADLINE);
    for row in rows() {
        let start = Instant::now();
        let handled = host.call(&plugin, order(row.order.clone()));
        let took = start.elapsed();
        assert!(handled.version.starts_with("sha256:"));
        row.check(&handled.result.expect_err("a fault"));
        if row.kind == Deadline {
            assert!(
                took >= DEADLINE && took < DEADLINE * 8,
                "{}: {took:?}",
                row.order
            );
        }
        let next = host.call(&plugin, order(json!({"do": "recall"})));
        assert_eq!(
            &*outputs(next)[0].payload,
            b"null",
            "{}: a fresh instance",
            row.order
        );
    }
}

#[test]
fn an_instance_that_trapped_is_never_entered_again() {
    let host = host();
    let plugin = host.add("puppet", |_| {});
    host.call(&plugin, order(json!({"do": "remember", "text": "mine"})));
    assert_eq!(
        &*outputs(host.call(&plugin, order(json!({"do": "recall"}))))[0].payload,
        b"\"mine\""
    );
    assert_eq!(plugin.status().instances, 1);
    host.call(&plugin, order(json!({"do": "trap"})))
        .result
        .expect_err("a trap");
    assert_eq!(plugin.status().instances, 0);
    assert_eq!(plugin.status().memory, 0);
    assert_eq!(
        host.runtime.engine().memory().0,
        0,
        "its memory went back to the budget"
    );
    assert_eq!(
        &*outputs(host.call(&plugin, order(json!({"do": "recall"}))))[0].payload,
        b"null"
    );
}

#[test]
fn a_cancelled_call_takes_its_instance_with_it() {
    let host = host();
    let plugin = host.add("puppet", |_| {});
    for act in [json!({"do": "spin"}), json!({"do": "sleep", "ms": 60_000})] {
        let (running, message) = (std::sync::Arc::clone(&plugin), order(act));
        let call = host.runtime.handle().spawn(async move {
            use wharf::handler::Handler;
            running
                .handle(&message, wharf_tests::plugins::ATTEMPT)
                .await
        });
        wharf_tests::plugins::until("an instance", || {
            (plugin.status().instances == 1).then_some(())
        });
        call.abort();
        wharf_tests::plugins::until("no instance", || {
            (plugin.status().instances == 0).then_some(())
        });
    }
    outputs(host.call(&plugin, order(json!({"do": "recall"}))));
}
