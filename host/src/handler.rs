//! What a handler says ([`Outcome`]), and what can happen to it ([`Fault`]).
//!
//! An outcome is the guest's word; a fault is the host's. The two never mix: a trap is not a rejection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::message::{Message, Outgoing};

/// What the guest answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Handled: publish these, then accept the message.
    Done(Vec<Outgoing>),
    /// Not handled, and why.
    Failed(Failure),
}

/// The three ways a guest can decline a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Try again later. Charged.
    Retry,
    /// Never try again.
    Reject,
    /// A dependency is down. Not charged, feeds the breaker.
    Unavailable,
}

/// A guest's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which of the three.
    pub kind: FailureKind,
    /// For people.
    pub reason: String,
    /// For programs: a short, stable word.
    pub code: Option<String>,
    /// Not before this long from now; the host's schedule where absent.
    pub after: Option<Duration>,
}

/// What happened to the guest, or kept it from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped: panic, unreachable, exit, stack overflow.
    Trap,
    /// It ran longer than its deadline.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// It returned more outputs or bytes than it may, or something the contract does not allow.
    BadOutput,
    /// It asked to publish where it was not granted.
    Denied,
    /// It was not run: no version loaded, no room in the guest budget, host stopping. Never charged.
    NotRun,
}

impl FaultKind {
    /// The word used in `wharf-cause`, `error.type` and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::BadOutput => "bad-output",
            Self::Denied => "denied",
            Self::NotRun => "not-run",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A fault with what an author needs to find its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// One line for people.
    pub message: String,
    /// The guest's last lines on stderr, oldest first. At most a few KiB.
    pub stderr: Vec<String>,
    /// Symbolised wasm frames, innermost first, where there was a trap.
    pub backtrace: Vec<String>,
}

impl Fault {
    /// A fault without stderr or backtrace.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            stderr: Vec::new(),
            backtrace: Vec::new(),
        }
    }
}

/// One finished run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Digest of the version that ran (`sha256:…`), or an empty string where none did.
    pub version: Arc<str>,
    /// What came of it.
    pub result: Result<Outcome, Fault>,
}

/// What the guest is told about this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptInfo {
    /// 1 for the first charged run.
    pub attempt: u32,
    /// Most charged runs this message will get.
    pub max_attempts: u32,
}

/// Something that handles messages: a plugin in life, a closure in tests.
///
/// The deadline is the handler's own business: dispatch has no way to call it without one.
pub trait Handler: Send + Sync {
    /// Runs one message. Never panics by contract; dispatch contains a panic all the same.
    fn handle<'a>(&'a self, message: &'a Message, attempt: AttemptInfo) -> BoxFuture<'a, Handled>;
}

impl<F> Handler for F
where
    F: for<'a> Fn(&'a Message, AttemptInfo) -> BoxFuture<'a, Handled> + Send + Sync,
{
    fn handle<'a>(&'a self, message: &'a Message, attempt: AttemptInfo) -> BoxFuture<'a, Handled> {
        self(message, attempt)
    }
}
