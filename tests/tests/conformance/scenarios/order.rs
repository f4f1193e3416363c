//! Order, where it is promised: through retries and the death of the host.

use std::collections::BTreeMap;

use serde_json::json;
use wharf::message::Outgoing;
use wharf_tests::count::{Fate, Item, Work, message};

use crate::stage::Stage;
use crate::subject::Subject;

const KEYS: usize = 8;
const MESSAGES: usize = 240;
const RETRY: &str =
    "    retry: { max_retries: 3, initial_interval: 20ms, randomization_factor: 0 }\n";

/// Messages of several keys. Every eleventh is handled at the second attempt, so all keys have some.
fn work() -> Work {
    let mut work = Work::default();
    for i in 0..MESSAGES {
        let key = format!("key-{}", i % KEYS);
        let attempt = if i % 11 == 3 { 2 } else { 1 };
        let output = json!({"key": key, "payload": format!("{i}")});
        let order = json!({"do": "retry-until", "attempt": attempt, "outputs": [output]});
        let message = Outgoing {
            key: Some(key.into()),
            ..message(format!("m-{i}"), order.to_string())
        };
        work.add(message, Fate::Output);
    }
    work
}

/// Outputs that came before one that should be earlier, among those with the same `of`.
fn out_of_order(outputs: &[Item], of: impl Fn(&Item) -> String) -> Vec<String> {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for output in outputs {
        let number = std::str::from_utf8(&output.payload).expect("a number");
        let number = number.parse().expect("a number");
        let before = last.insert(of(output), number);
        if before.is_some_and(|before| before > number) {
            wrong.push(format!("{number} after {before:?}"));
        }
    }
    wrong
}

async fn order_is_kept<B: Subject>(
    stage: &mut Stage<B>,
    order: &str,
    of: impl Fn(&Item) -> String,
) {
    stage.subject.keep_order(&stage.names.input).await;
    let setup = stage.setup().with(RETRY);
    setup.with(&format!("    order: {order}\n")).write();
    let work = work();
    stage.publish(&work.messages).await;
    let host = stage.place.run().await;
    stage.until_ended(MESSAGES as u64 / 3).await;
    host.kill();
    let _host = stage.place.run().await;
    let mut outputs = stage.check_after_a_crash(&work).await;
    assert_eq!(out_of_order(&outputs, &of), Vec::<String>::new());
    // One exchange is noticed.
    let first = of(&outputs[0]);
    let next = outputs[1..].iter().position(|o| of(o) == first);
    outputs.swap(0, 1 + next.expect("another of that key"));
    assert!(!out_of_order(&outputs, &of).is_empty());
}

pub(crate) async fn order_by_key_is_kept_through_retries_and_a_kill<B: Subject>(
    stage: &mut Stage<B>,
) {
    let key = |item: &Item| format!("{:?}", item.key);
    order_is_kept(stage, "key", key).await;
}

/// In one lane, also where keys differ.
pub(crate) async fn order_of_the_source_is_kept_through_retries_and_a_kill<B: Subject>(
    stage: &mut Stage<B>,
) {
    order_is_kept(stage, "source", |_| String::new()).await;
}
