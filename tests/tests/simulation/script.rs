//! What handlers do: a list of acts per message, one per run; after the last of them, it is done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use wharf::handler::{
    AttemptInfo, Failure, FailureKind, Fault, FaultKind, Handled, Handler, Outcome,
};
use wharf::message::{Message, Outgoing};

use crate::broker::World;

/// What a scripted panic says.
pub const PANIC: &str = "scripted panic";

/// How one run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Done,
    Retry,
    Reject,
    Unavailable,
    Trap,
    NotRun,
    BadOutput,
    /// An output to a destination nobody granted.
    Denied,
    /// The host's side of the handler panics before it returns a future.
    PanicAtOnce,
    /// The same while it is polled.
    PanicLater,
    /// Never ends; only dropping it does.
    Hang,
}

impl Act {
    /// Whether the run counts as an attempt.
    pub fn charged(self) -> bool {
        !matches!(self, Self::Unavailable | Self::NotRun | Self::Hang)
    }

    /// Whether it is the last run of its message, given that `charged` runs are charged now.
    pub fn last(self, charged: u32, max_retries: u32) -> bool {
        match self {
            Self::Done | Self::Reject | Self::BadOutput | Self::Denied => true,
            Self::Retry | Self::Trap | Self::PanicAtOnce | Self::PanicLater => {
                charged > max_retries
            }
            Self::Unavailable | Self::NotRun | Self::Hang => false,
        }
    }
}

/// What happens to one message.
#[derive(Debug, Clone)]
pub struct Plan {
    pub acts: Vec<Act>,
    pub takes: Vec<Duration>,
    /// Where each output goes: `a` and `b` at east, `c` at home.
    pub outputs: Vec<&'static str>,
    /// This output can never be published.
    pub poison: Option<usize>,
    /// Its dead letter is refused while it carries diagnostics.
    pub heavy: bool,
    /// Its dead letter is refused for what it is, until the faults end.
    pub stuck: bool,
}

impl Plan {
    pub fn draw(rng: &mut Rng, hangs: bool) -> Self {
        let mut acts = Vec::new();
        while acts.len() < 6 && rng.u8(0..3) == 0 {
            acts.push(match rng.u8(0..24) {
                0..=6 => Act::Retry,
                7..=8 => Act::Reject,
                9..=12 => Act::Unavailable,
                13..=15 => Act::Trap,
                16 => Act::NotRun,
                17 => Act::BadOutput,
                18 => Act::Denied,
                19..=20 => Act::PanicAtOnce,
                21..=22 => Act::PanicLater,
                _ if hangs => Act::Hang,
                _ => Act::Retry,
            });
        }
        let outputs: Vec<_> = (0..rng.usize(0..4))
            .map(|_| ["a", "b", "c"][rng.usize(0..3)])
            .collect();
        let poison =
            (!outputs.is_empty() && rng.u8(0..12) == 0).then(|| rng.usize(0..outputs.len()));
        let take = |rng: &mut Rng| match rng.u8(0..4) {
            0 => Duration::from_millis(rng.u64(1..200)),
            _ => Duration::ZERO,
        };
        Self {
            takes: (0..=acts.len()).map(|_| take(rng)).collect(),
            acts,
            outputs,
            poison,
            heavy: rng.u8(0..4) == 0,
            stuck: rng.u8(0..10) == 0,
        }
    }
}

/// What ends a hanging run where no drain does.
const DEADLINE: Duration = Duration::from_secs(5);

/// The handler of every message.
pub struct Script(pub Arc<Mutex<World>>);

/// One run under way. Dropped before its end, it was aborted.
struct Run<'a> {
    world: &'a Mutex<World>,
    message: usize,
    act: Act,
    ended: bool,
}

impl Run<'_> {
    fn end(&mut self) {
        self.ended = true;
        self.world.lock().ended(self.message, self.act);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.world.lock().aborted(self.message);
        }
    }
}

impl Handler for Script {
    fn handle<'a>(&'a self, message: &'a Message, info: AttemptInfo) -> BoxFuture<'a, Handled> {
        let index = crate::broker::index_of(&message.id);
        let (act, takes, outputs) = {
            let mut world = self.0.lock();
            world.check_deliveries(index, message.deliveries);
            world.started(index, info)
        };
        let mut run = Run {
            world: &self.0,
            message: index,
            act,
            ended: false,
        };
        if act == Act::PanicAtOnce {
            run.end();
            std::panic::panic_any(PANIC);
        }
        Box::pin(async move {
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            if act == Act::Hang {
                // In the last life nothing aborts it but, as in real life, its deadline.
                let last = run.world.lock().last_life();
                if last {
                    tokio::time::sleep(DEADLINE).await;
                } else {
                    std::future::pending::<()>().await;
                }
            }
            run.end();
            if act == Act::PanicLater {
                std::panic::panic_any(PANIC);
            }
            Handled {
                version: "sha256:test".into(),
                result: result(act, outputs),
            }
        })
    }
}

fn result(act: Act, outputs: Vec<Outgoing>) -> Result<Outcome, Fault> {
    let failed = |kind| {
        Ok(Outcome::Failed(Failure {
            kind,
            reason: "scripted".to_owned(),
            code: None,
            after: None,
        }))
    };
    let fault = |kind| Err(Fault::new(kind, "scripted"));
    match act {
        Act::Done => Ok(Outcome::Done(outputs)),
        Act::Retry => failed(FailureKind::Retry),
        Act::Reject => failed(FailureKind::Reject),
        Act::Unavailable => failed(FailureKind::Unavailable),
        Act::Trap | Act::PanicAtOnce | Act::PanicLater => fault(FaultKind::Trap),
        Act::NotRun | Act::Hang => fault(FaultKind::NotRun),
        Act::BadOutput => fault(FaultKind::BadOutput),
        Act::Denied => Ok(Outcome::Done(vec![Outgoing {
            destination: "nowhere".into(),
            payload: Bytes::from_static(b"x"),
            ..Outgoing::default()
        }])),
    }
}
