//! What should come of a message, and whether it did.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::case::parse_lines;
use super::{diff, shown};
use crate::cli::failure::Result;
use crate::cli::line::{Line, explain};
use crate::handler::{Fault, Outcome};

/// What should come of one message, as [`shown::result`] would show it.
pub(super) struct Expected {
    value: Value,
    /// Per output: whether its payload is compared as JSON, so that white space and the order of keys mean nothing.
    json_payloads: Vec<bool>,
}

/// As it is written. Exactly one of these is there.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `accept`, `retry`, `reject`, `unavailable` or `fault`"
)]
struct Written {
    accept: Option<Vec<Line>>,
    retry: Option<Declined>,
    reject: Option<Declined>,
    unavailable: Option<Declined>,
    fault: Option<Faulty>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Declined {
    code: Option<String>,
    after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Faulty {
    kind: String,
}

/// A line of a file of expectations: what stands behind `expect`, or an object that has it.
#[derive(Deserialize)]
struct Wrapped {
    expect: Box<RawValue>,
}

/// Reads a file of expectations, one per line.
pub(super) fn read(file: &Path) -> Result<Vec<Expected>> {
    parse_lines(file, |line, _| {
        match serde_json::from_str::<Wrapped>(line) {
            Ok(wrapped) => Expected::parse(wrapped.expect.get()),
            Err(_) => Expected::parse(line),
        }
    })
}

impl Expected {
    /// Reads what stands behind `expect`.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        let written: Written =
            serde_json::from_str(text).map_err(|error| format!("expect: {}", explain(&error)))?;
        let declined = [
            ("retry", written.retry),
            ("reject", written.reject),
            ("unavailable", written.unavailable),
        ];
        let mut given: Vec<(Value, Vec<bool>)> = Vec::new();
        if let Some(outputs) = written.accept {
            given.push(accepted(&outputs)?);
        }
        for (kind, declined) in declined {
            if let Some(Declined { code, after_ms }) = declined {
                given.push((shown::declined(kind, code.as_deref(), after_ms), Vec::new()));
            }
        }
        if let Some(fault) = written.fault {
            given.push((json!({ "fault": { "kind": fault.kind } }), Vec::new()));
        }
        match (given.pop(), given.is_empty()) {
            (Some((value, json_payloads)), true) => Ok(Self {
                value,
                json_payloads,
            }),
            _ => Err(
                "expect: exactly one of `accept`, `retry`, `reject`, `unavailable`, `fault` is wanted"
                    .to_owned(),
            ),
        }
    }

    /// Which payloads are shown as JSON.
    pub(super) fn json_payloads(expected: Option<&Self>) -> &[bool] {
        expected.map_or(&[], |expected| &expected.json_payloads)
    }

    /// Compares. An error is the difference, line by line: `-` expected, `+` what came.
    pub(super) fn check(
        &self,
        result: &std::result::Result<Outcome, Fault>,
    ) -> std::result::Result<(), String> {
        let got = shown::result(result, &self.json_payloads);
        if got == self.value {
            return Ok(());
        }
        Err(diff::lines(
            &shown::pretty(&self.value),
            &shown::pretty(&got),
        ))
    }
}

fn accepted(outputs: &[Line]) -> std::result::Result<(Value, Vec<bool>), String> {
    let mut values = Vec::new();
    let mut json_payloads = Vec::new();
    for (at, line) in outputs.iter().enumerate() {
        let output = line
            .to_outgoing()
            .map_err(|reason| format!("expect: output {}: {reason}", at + 1))?;
        values.push(shown::output(&output, line.payload_is_json()));
        json_payloads.push(line.payload_is_json());
    }
    Ok((json!({ "accept": values }), json_payloads))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::handler::{Failure, FailureKind, FaultKind};
    use crate::message::Outgoing;

    fn published(payload: &str) -> std::result::Result<Outcome, Fault> {
        Ok(Outcome::Done(vec![Outgoing {
            destination: "out".into(),
            payload: payload.to_owned().into(),
            ..Outgoing::default()
        }]))
    }

    fn check(expect: &str, result: &std::result::Result<Outcome, Fault>) -> bool {
        Expected::parse(expect).unwrap().check(result).is_ok()
    }

    #[test]
    fn payloads_are_compared_as_they_are_written() {
        let result = published(r#"{ "b": 1, "a": 2 }"#);
        assert!(check(
            r#"{"accept":[{"destination":"out","payload":{"a":2,"b":1}}]}"#,
            &result
        ));
        assert!(!check(
            r#"{"accept":[{"destination":"out","payload":{"a":2,"b":2}}]}"#,
            &result
        ));
        assert!(!check(
            r#"{"accept":[{"destination":"out","payload_text":"{\"a\":2,\"b\":1}"}]}"#,
            &result
        ));
        assert!(check(
            r#"{"accept":[{"destination":"out","payload_base64":"eA=="}]}"#,
            &published("x")
        ));
    }

    #[test]
    fn what_is_left_out_must_be_absent() {
        assert!(!check(
            r#"{"accept":[{"destination":"out"}]}"#,
            &published("x")
        ));
        assert!(!check(r#"{"accept":[]}"#, &published("")));
        assert!(!check(
            r#"{"accept":[{"destination":"out","key":""}]}"#,
            &published("")
        ));
        assert!(check(
            r#"{"accept":[{"destination":"out"}]}"#,
            &published("")
        ));
        let retry = Ok(Outcome::Failed(Failure {
            kind: FailureKind::Retry,
            reason: "later".into(),
            code: Some("c".into()),
            after: Some(Duration::from_millis(250)),
        }));
        assert!(check(r#"{"retry":{"code":"c","after_ms":250}}"#, &retry));
        assert!(!check(r#"{"retry":{"code":"c"}}"#, &retry));
        assert!(!check(r#"{"reject":{"code":"c","after_ms":250}}"#, &retry));
    }

    #[test]
    fn faults_are_expected_by_their_kind() {
        let trap = Err(Fault::new(FaultKind::Trap, "boom"));
        assert!(check(r#"{"fault":{"kind":"trap"}}"#, &trap));
        assert!(!check(r#"{"fault":{"kind":"deadline"}}"#, &trap));
        assert!(!check(r#"{"accept":[]}"#, &trap));
    }

    #[test]
    fn an_expectation_is_exactly_one() {
        for wrong in ["{}", r#"{"accept":[],"retry":{}}"#, "[]", r#"{"acept":[]}"#] {
            assert!(Expected::parse(wrong).is_err(), "{wrong}");
        }
    }
}
