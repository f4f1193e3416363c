//! `plugins/audit-log`.

use serde_json::Value;

use crate::shipped::{Shipped, outputs};

/// Takes the time out of a record, and holds it to being one.
fn without_time(mut record: Value) -> Value {
    let published = record.as_object_mut().unwrap().remove("published").unwrap();
    let published = published.as_str().unwrap();
    assert!(
        published.len() == 24 && published.ends_with('Z'),
        "{published}"
    );
    record
}

fn sorted(records: impl Iterator<Item = Value>) -> Vec<Value> {
    crate::shipped::sorted(records.map(without_time).collect())
}

#[tokio::test]
async fn every_message_leaves_a_line_and_a_record() {
    let plugin = Shipped::new("audit-log");
    let log = plugin.handle_all().await;
    let trail = plugin.lying("local", "audit.trail");
    assert_eq!(plugin.dead(), [Value::Null; 0]);

    let expected = outputs(&plugin.messages());
    let expected = sorted(expected.into_iter().map(|out| out["payload"].clone()));
    let payload = |out: &Value| match &out["payload_text"] {
        // Its keys are in an order of its own, so it is not shown as JSON.
        Value::String(text) => serde_json::from_str(text).unwrap(),
        _ => out["payload"].clone(),
    };
    assert_eq!(sorted(trail.iter().map(payload)), expected);
    let readme: Value = serde_json::from_str(&plugin.readme("json")).unwrap();
    assert!(expected.contains(&without_time(readme)));

    let lines = log.iter().filter(|line| line["target"] == "guest");
    let lines: Vec<Value> = lines
        .map(|line| {
            assert_eq!(
                (&line["plugin"], &line["stream"]),
                (&"audit".into(), &"stdout".into())
            );
            serde_json::from_str(line["message"].as_str().unwrap()).unwrap()
        })
        .collect();
    assert_eq!(sorted(lines.into_iter()), expected);
    let all = format!("{log:?} {trail:?}");
    assert!(!all.contains("hunter2"), "what nobody asked for: {all}");
    // The record goes with its message.
    let ada = trail.iter().filter(|out| out["key"] == "ada").count();
    assert_eq!(ada, 2);
}
