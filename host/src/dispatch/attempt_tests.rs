//! Every outcome × fault × attempt × capability, against a table written by hand.

use super::*;
use crate::message::{Message, Unrepresentable};
use crate::ports::Ordering;

const MAX_RETRIES: u32 = 3;

fn policy(ordered: bool, redelivers: bool, delays: bool) -> Policy {
    Policy {
        schedule: Schedule::new(
            MAX_RETRIES,
            Duration::from_secs(1),
            2.0,
            Duration::from_secs(30),
            0.0,
        )
        .unwrap(),
        max_deliveries: 20,
        ordered,
        capabilities: Capabilities {
            redelivers,
            delays,
            orders: Ordering::Source,
            counts_deliveries: true,
            keeps_attempts: true,
            native_dead_letter: false,
            atomic: false,
            patience: None,
        },
    }
}

/// What the table says of one kind of result.
#[derive(Debug, Clone, Copy)]
enum Expect {
    Accept,
    /// Charged; this cause once retries are used up.
    Charged(Cause),
    /// Dead letter at once.
    AtOnce(Cause),
    /// Never charged, never dead.
    Free,
}

fn failed(kind: FailureKind, after: Option<Duration>) -> Result<Outcome, Fault> {
    Ok(Outcome::Failed(Failure {
        kind,
        reason: "why".into(),
        code: Some("code".into()),
        after,
    }))
}

fn faulted(kind: FaultKind) -> Result<Outcome, Fault> {
    Err(Fault {
        kind,
        message: "why".into(),
        stderr: vec!["last words".into()],
        backtrace: vec!["frame".into()],
    })
}

fn table() -> Vec<(Result<Outcome, Fault>, Expect)> {
    let after = Some(Duration::from_millis(70));
    vec![
        (Ok(Outcome::Done(vec![])), Expect::Accept),
        (
            failed(FailureKind::Retry, None),
            Expect::Charged(Cause::Exhausted),
        ),
        (
            failed(FailureKind::Retry, after),
            Expect::Charged(Cause::Exhausted),
        ),
        (
            failed(FailureKind::Reject, None),
            Expect::AtOnce(Cause::Rejected),
        ),
        (
            failed(FailureKind::Reject, after),
            Expect::AtOnce(Cause::Rejected),
        ),
        (failed(FailureKind::Unavailable, None), Expect::Free),
        (failed(FailureKind::Unavailable, after), Expect::Free),
        (faulted(FaultKind::Trap), Expect::Charged(Cause::Trap)),
        (
            faulted(FaultKind::Deadline),
            Expect::Charged(Cause::Deadline),
        ),
        (faulted(FaultKind::Memory), Expect::Charged(Cause::Memory)),
        (
            faulted(FaultKind::BadOutput),
            Expect::AtOnce(Cause::BadOutput),
        ),
        (faulted(FaultKind::Denied), Expect::AtOnce(Cause::Denied)),
        (faulted(FaultKind::NotRun), Expect::Free),
    ]
}

fn asked_delay(result: &Result<Outcome, Fault>) -> Option<Duration> {
    match result {
        Ok(Outcome::Failed(f)) => f.after,
        _ => None,
    }
}

#[test]
fn every_outcome_fault_attempt_and_capability() {
    let mut rows = 0;
    for (result, expect) in table() {
        for before in 0..=MAX_RETRIES + 2 {
            for bits in 0..8u8 {
                let policy = policy(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
                let step = decide(result.clone(), before, &policy, 0.5);
                check(&result, expect, before, &policy, step);
                rows += 1;
            }
        }
    }
    assert_eq!(rows, 13 * 6 * 8);
}

fn check(
    result: &Result<Outcome, Fault>,
    expect: Expect,
    before: u32,
    policy: &Policy,
    step: Step,
) {
    let context = format!("{result:?} after {before} attempts, {policy:?}");
    let expected_wait = match (
        policy.ordered,
        policy.capabilities.redelivers,
        policy.capabilities.delays,
    ) {
        (false, true, true) => Wait::AtBroker,
        _ => Wait::InHost,
    };
    match (expect, step) {
        (Expect::Accept, Step::Accept(outputs)) => assert!(outputs.is_empty(), "{context}"),
        (
            Expect::Charged(_),
            Step::Again {
                after,
                attempts,
                wait,
                why,
            },
        ) => {
            assert!(before < MAX_RETRIES, "one retry too many: {context}");
            assert_eq!(attempts, before + 1, "{context}");
            assert_eq!(wait, expected_wait, "{context}");
            assert_eq!(why, "why");
            let scheduled = Duration::from_secs(1 << before);
            assert_eq!(after, asked_delay(result).unwrap_or(scheduled), "{context}");
        }
        (
            Expect::Charged(cause),
            Step::DeadLetter {
                cause: got,
                attempts,
                diagnosis,
            },
        ) => {
            assert!(before >= MAX_RETRIES, "given up too early: {context}");
            assert_eq!((got, attempts), (cause, before + 1), "{context}");
            assert_eq!(diagnosis.reason, "why");
        }
        (
            Expect::AtOnce(cause),
            Step::DeadLetter {
                cause: got,
                attempts,
                diagnosis,
            },
        ) => {
            assert_eq!((got, attempts), (cause, before + 1), "{context}");
            assert_eq!(diagnosis.reason, "why");
        }
        (
            Expect::Free,
            Step::Again {
                after,
                attempts,
                wait,
                ..
            },
        ) => {
            assert_eq!((attempts, wait), (before, expected_wait), "{context}");
            assert_eq!(
                after,
                asked_delay(result).unwrap_or(Duration::from_secs(1)),
                "{context}"
            );
        }
        (_, step) => panic!("{context} became {step:?}"),
    }
}

#[test]
fn the_diagnosis_keeps_what_the_author_needs() {
    let policy = policy(false, true, true);
    match decide(faulted(FaultKind::Trap), 3, &policy, 0.5) {
        Step::DeadLetter { diagnosis, .. } => {
            assert_eq!(diagnosis.stderr, ["last words"]);
            assert_eq!(diagnosis.backtrace, ["frame"]);
        }
        step => panic!("{step:?}"),
    }
    match decide(failed(FailureKind::Reject, None), 0, &policy, 0.5) {
        Step::DeadLetter { diagnosis, .. } => assert_eq!(diagnosis.code.as_deref(), Some("code")),
        step => panic!("{step:?}"),
    }
}

fn message() -> Message {
    Message {
        attempts: 2,
        ..Message::for_test("1")
    }
}

fn cause_before(message: &Message, now_ms: u64) -> Option<(Cause, u32)> {
    before(message, &policy(false, true, true), now_ms).map(|step| match step {
        Step::DeadLetter {
            cause, attempts, ..
        } => (cause, attempts),
        step => panic!("{step:?}"),
    })
}

#[test]
fn a_sound_message_runs() {
    assert_eq!(cause_before(&message(), 0), None);
}

#[test]
fn a_message_that_may_be_killing_hosts_is_not_run() {
    let mut m = message();
    m.deliveries = 20;
    assert_eq!(cause_before(&m, 0), None);
    m.deliveries = 21;
    assert_eq!(cause_before(&m, 0), Some((Cause::CrashLoop, 2)));
}

#[test]
fn a_message_past_its_time_is_not_run() {
    let mut m = message();
    m.expires_at_ms = Some(100);
    assert_eq!(cause_before(&m, 99), None);
    assert_eq!(cause_before(&m, 100), Some((Cause::Expired, 2)));
}

#[test]
fn what_the_contract_cannot_hold_is_not_run() {
    let mut m = message();
    m.unrepresentable = Some(Box::new(Unrepresentable {
        reason: "a header name is not UTF-8".into(),
        headers: vec![],
    }));
    assert_eq!(cause_before(&m, 0), Some((Cause::Unrepresentable, 2)));
}
