//! What becomes of a message: the one place that turns an outcome or a fault into a fate.
//!
//! Both functions are pure. [`before`] looks at a message that is about to run, [`decide`] at what came of a run.
//! To change a retry rule, change this file.
//!
//! | what came of the run | charged | next |
//! |---|---|---|
//! | done | yes | accept, after its outputs are confirmed |
//! | retry, trap, deadline, memory | yes | again after the schedule's delay; dead letter once retries are used up |
//! | reject, bad-output, denied | yes | dead letter at once: it would be the same next time |
//! | unavailable, not-run | no | again after a delay, for ever; the breaker bounds the load |

use std::time::Duration;

use crate::commit::Cause;
use crate::dispatch::retry::Schedule;
use crate::handler::{Failure, FailureKind, Fault, FaultKind, Outcome};
use crate::message::{Message, Outgoing};
use crate::ports::Capabilities;

/// What does not change from message to message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Retries and their delays.
    pub schedule: Schedule,
    /// Above this many deliveries a message is not run any more.
    pub max_deliveries: u32,
    /// Messages of a lane are handled one after the other.
    pub ordered: bool,
    /// What the broker can do.
    pub capabilities: Capabilities,
}

/// Where a message waits for its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Given back to the broker, which delays it. Costs the host nothing.
    AtBroker,
    /// Kept unsettled in the host: its lane must not go on, or the broker cannot delay.
    InHost,
}

/// Why a message was not handled, in the words its dead letter will carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// For people.
    pub reason: String,
    /// The handler's own code.
    pub code: Option<String>,
    /// The guest's last lines.
    pub stderr: Vec<String>,
    /// Wasm frames.
    pub backtrace: Vec<String>,
}

impl Diagnosis {
    fn of(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            code: None,
            stderr: Vec::new(),
            backtrace: Vec::new(),
        }
    }
}

/// A message's fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Publish these, then accept.
    Accept(Vec<Outgoing>),
    /// Run it again.
    Again {
        /// Not before this long from now.
        after: Duration,
        /// Charged attempts so far, this one included if it was charged.
        attempts: u32,
        /// Where it waits.
        wait: Wait,
        /// Why, for the log.
        why: String,
    },
    /// Publish its dead letter, then accept.
    DeadLetter {
        /// The word for it.
        cause: Cause,
        /// Charged attempts, this one included.
        attempts: u32,
        /// What is known.
        diagnosis: Diagnosis,
    },
}

/// Looks at a message whose turn has come. `None`: run it.
pub fn before(message: &Message, policy: &Policy, now_ms: u64) -> Option<Step> {
    let dead = |cause, reason: String| {
        Some(Step::DeadLetter {
            cause,
            attempts: message.attempts,
            diagnosis: Diagnosis::of(reason),
        })
    };
    if let Some(unfit) = &message.unrepresentable {
        return dead(Cause::Unrepresentable, unfit.reason.clone());
    }
    if message.deliveries > policy.max_deliveries {
        return dead(
            Cause::CrashLoop,
            format!(
                "delivered {} times without an outcome (at most {}): it may be stopping hosts",
                message.deliveries, policy.max_deliveries
            ),
        );
    }
    match message.expires_at_ms {
        Some(expires) if expires <= now_ms => dead(
            Cause::Expired,
            format!("expired {} ms before its turn came", now_ms - expires),
        ),
        _ => None,
    }
}

/// Turns what came of a run into a fate. `attempts` are the charged runs before this one, `jitter` is in 0..1.
pub fn decide(result: Result<Outcome, Fault>, attempts: u32, policy: &Policy, jitter: f64) -> Step {
    let charged = attempts.saturating_add(1);
    match result {
        Ok(Outcome::Done(outputs)) => Step::Accept(outputs),
        Ok(Outcome::Failed(failure)) => {
            let after = failure.after;
            match failure.kind {
                FailureKind::Retry => again_or(
                    Cause::Exhausted,
                    charged,
                    after,
                    from_failure(failure),
                    policy,
                    jitter,
                ),
                FailureKind::Reject => Step::DeadLetter {
                    cause: Cause::Rejected,
                    attempts: charged,
                    diagnosis: from_failure(failure),
                },
                FailureKind::Unavailable => {
                    uncharged(attempts, after, failure.reason, policy, jitter)
                }
            }
        }
        Err(fault) => match fault.kind {
            FaultKind::Trap => fault_again(Cause::Trap, charged, fault, policy, jitter),
            FaultKind::Deadline => fault_again(Cause::Deadline, charged, fault, policy, jitter),
            FaultKind::Memory => fault_again(Cause::Memory, charged, fault, policy, jitter),
            FaultKind::BadOutput => dead(Cause::BadOutput, charged, fault),
            FaultKind::Denied => dead(Cause::Denied, charged, fault),
            FaultKind::NotRun => uncharged(attempts, None, fault.message, policy, jitter),
        },
    }
}

fn fault_again(cause: Cause, charged: u32, fault: Fault, policy: &Policy, jitter: f64) -> Step {
    again_or(cause, charged, None, from_fault(fault), policy, jitter)
}

fn dead(cause: Cause, charged: u32, fault: Fault) -> Step {
    Step::DeadLetter {
        cause,
        attempts: charged,
        diagnosis: from_fault(fault),
    }
}

/// Another attempt while there are retries left, a dead letter of `cause` after that.
fn again_or(
    cause: Cause,
    charged: u32,
    after: Option<Duration>,
    diagnosis: Diagnosis,
    policy: &Policy,
    jitter: f64,
) -> Step {
    if charged > policy.schedule.max_retries() {
        return Step::DeadLetter {
            cause,
            attempts: charged,
            diagnosis,
        };
    }
    Step::Again {
        after: after.unwrap_or_else(|| policy.schedule.delay(charged, jitter)),
        attempts: charged,
        wait: waits(policy),
        why: diagnosis.reason,
    }
}

fn uncharged(
    attempts: u32,
    after: Option<Duration>,
    why: String,
    policy: &Policy,
    jitter: f64,
) -> Step {
    Step::Again {
        after: after.unwrap_or_else(|| policy.schedule.delay(1, jitter)),
        attempts,
        wait: waits(policy),
        why,
    }
}

/// Where a message of this subscription waits. An order promise keeps it in its lane.
pub fn waits(policy: &Policy) -> Wait {
    let capable = policy.capabilities.delays && policy.capabilities.redelivers;
    if capable && !policy.ordered {
        Wait::AtBroker
    } else {
        Wait::InHost
    }
}

fn from_failure(failure: Failure) -> Diagnosis {
    Diagnosis {
        code: failure.code,
        ..Diagnosis::of(failure.reason)
    }
}

fn from_fault(fault: Fault) -> Diagnosis {
    Diagnosis {
        reason: fault.message,
        code: None,
        stderr: fault.stderr,
        backtrace: fault.backtrace,
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
