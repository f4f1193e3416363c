use super::*;

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

#[test]
fn what_the_script_does_not_name_is_done() {
    let answer = Value::Array(vec![
        Value::Array(vec![
            Value::Int(2),
            bulk("P"),
            Value::Int(3),
            bulk("WRONGTYPE no"),
        ]),
        Value::Array(vec![Value::Int(4), bulk("F")]),
        Value::Array(vec![Value::Int(5), bulk("S"), bulk("MISCONF disk")]),
    ]);
    let got = results(5, answer);
    assert_eq!(got[0], Committed::Done);
    assert!(
        matches!(&got[1], Committed::NotPublished(2, PublishError::Destination(t))
            if t.starts_with("redis: WRONGTYPE no; ") && t.contains("another key"))
    );
    assert_eq!(got[2], Committed::Done);
    assert_eq!(got[3], Committed::NotSettled(no_longer_ours()));
    assert!(
        matches!(&got[4], Committed::NotSettled(SettleError::Unavailable(t)) if t.contains("MISCONF"))
    );
}

#[test]
fn a_fence_is_for_all() {
    let got = results(2, Value::SimpleString("FENCED".into()));
    assert!(
        got.iter()
            .all(|c| *c == Committed::NotSettled(no_longer_ours()))
    );
}
