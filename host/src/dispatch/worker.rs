//! Runs messages: takes the next ready one of a plugin, has it handled, carries out what was decided.
//!
//! As many workers run per plugin as it may have sandboxes, on the guests' own runtime. A worker keeps nothing of
//! one message for the next, but for counts ([`desk`](super::desk)).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::commit::{Cause, Commit, Publication, Settlement};
use crate::config::OnDeadLetter;
use crate::dispatch::answer;
use crate::dispatch::attempt::{self, Diagnosis, Step, Wait};
use crate::dispatch::breaker::{Breaker, Permit, Sample, Ticket};
use crate::dispatch::dead_letter;
use crate::dispatch::desk::Desk;
use crate::dispatch::held::Held;
use crate::dispatch::outputs;
use crate::dispatch::patience::{Doing, Verdict};
use crate::dispatch::ready::{Next, Ready};
use crate::dispatch::route::{Job, Pause, Route};
use crate::dispatch::sweep;
use crate::handler::{AttemptInfo, FailureKind, Fault, FaultKind, Handled, Handler, Outcome};

/// What the workers of one plugin share.
pub(super) struct Crew {
    /// The plugin.
    pub(super) handler: Arc<dyn Handler>,
    /// Its queue.
    pub(super) ready: Arc<Ready<Job>>,
    /// Its waiting room.
    pub(super) held: Arc<Held>,
    /// Its breaker, if it has one.
    pub(super) breaker: Option<Mutex<Breaker>>,
}

/// One worker, the `number`th of its plugin: until the queue is closed.
pub(super) async fn run(crew: Arc<Crew>, number: usize) {
    let mut desk = Desk::default();
    while let Some(job) = next(&crew, number, &mut desk).await {
        let route = desk.route(&job.route);
        if AssertUnwindSafe(process(&crew, &route, job, &mut desk))
            .catch_unwind()
            .await
            .is_err()
        {
            recover(&route);
        }
        desk.keep(route);
        // A worker with a full queue would never give its thread back otherwise.
        tokio::task::consume_budget().await;
    }
}

/// The next message. Before it waits for one, everything that was put off is handed in.
async fn next(crew: &Crew, number: usize, desk: &mut Desk) -> Option<Job> {
    match crew.ready.try_pop(number) {
        Next::Job(job) => Some(job),
        Next::Closed => None,
        Next::Nothing => {
            desk.clear();
            crew.ready.pop(number).await
        }
    }
}

/// The host itself panicked outside a handler: the message was released, so what follows it must be as well.
fn recover(route: &Route) {
    tracing::error!(plugin = %route.spec.plugin, subscription = %route.spec.name, "the host panicked: the message is released");
    route.rewind();
}

async fn process(crew: &Crew, route: &Arc<Route>, job: Job, desk: &mut Desk) {
    let began = Instant::now();
    desk.tidy(began);
    let Some(job) = in_time(crew, job, began) else {
        return;
    };
    if let Some(step) = attempt::before(
        job.delivery.message(),
        &route.policy,
        route.clock.ms_at(began),
    ) {
        return carry_out(crew, job, step, Arc::from(""), desk);
    }
    let ticket = match permit(crew, route) {
        Ok(ticket) => ticket,
        Err(wait) => {
            let step = Step::Again {
                after: wait,
                attempts: job.delivery.message().attempts,
                wait: attempt::waits(&route.policy),
                why: "the plugin's breaker is open".into(),
            };
            return carry_out(crew, job, step, Arc::from(""), desk);
        }
    };

    let handled = handle(crew, &job).await;
    let took = began.elapsed();
    match error_type(&handled) {
        "" => desk.ran_well(began, took),
        error_type => route.metrics.ran(error_type, took),
    }
    if let Some(ticket) = ticket {
        record(crew, route, ticket, &handled);
    }

    let attempts = job.delivery.message().attempts;
    let step = attempt::decide(handled.result, attempts, &route.policy, fastrand::f64());
    carry_out(crew, job, step, handled.version, desk);
}

/// Looks at the times of a message whose turn has come; `None`: not now. One that has waited for as long as its broker lets
/// it goes back, since its run might not end in time. So does one that waited while something before it went back. One that
/// came back before its delay was over waits for the rest.
fn in_time(crew: &Crew, job: Job, now: Instant) -> Option<Job> {
    let Some(patience) = job.route.patience else {
        return Some(job);
    };
    let delivered = job.delivery.delivered();
    let over = patience.verdict(delivered, Doing::Queues, now);
    let goes_back = job.route.policy.ordered && job.route.lanes.rewinding();
    if goes_back || over == Verdict::Release {
        // First nothing new may come, or it would come before what is behind it goes.
        let behind = job.route.rewind();
        sweep::tell(&job.route, behind + 1);
        return None;
    }
    match job.delivery.due().filter(|due| *due > now) {
        None => Some(job),
        Some(due) => {
            let message = job.delivery.message();
            let (attempts, first_failed_ms) = (message.attempts, message.first_failed_ms);
            crew.held.keep(job, attempts, first_failed_ms, due);
            None
        }
    }
}

/// Runs the handler. A panic of ours while it runs is charged like a trap, so that it ends.
async fn handle(crew: &Crew, job: &Job) -> Handled {
    let message = job.delivery.message();
    let info = AttemptInfo {
        attempt: message.attempts.saturating_add(1),
        max_attempts: job.route.policy.schedule.max_retries().saturating_add(1),
    };
    // Inside the future, so that a panic before the handler returns one is contained as well.
    let call = async { crew.handler.handle(message, info).await };
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_panic| {
        tracing::error!(plugin = %job.route.spec.plugin, message_id = %message.id, "the host panicked while running this message");
        Handled {
            version: Arc::from(""),
            result: Err(Fault::new(FaultKind::Trap, "the host panicked while running this message")),
        }
    })
}

/// Asks the breaker, where there is one. `Err`: how long to wait.
fn permit(crew: &Crew, route: &Arc<Route>) -> Result<Option<Ticket>, Duration> {
    let Some(breaker) = &crew.breaker else {
        return Ok(None);
    };
    let mut breaker = breaker.lock();
    let permit = breaker.permit(Instant::now());
    route.metrics.breaker.set(breaker.level());
    match permit {
        Permit::Run(ticket) => Ok(Some(ticket)),
        Permit::Wait(wait) => {
            stand_still(route, wait);
            Err(wait)
        }
    }
}

/// Stops reading while the breaker is open: fetching only to release would walk through the whole backlog.
fn stand_still(route: &Arc<Route>, wait: Duration) {
    if route.pause(Pause::Breaker) {
        let route = Arc::clone(route);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            route.resume(|why| *why == Pause::Breaker);
        });
    }
}

fn record(crew: &Crew, route: &Route, ticket: Ticket, handled: &Handled) {
    let Some(breaker) = &crew.breaker else { return };
    let sample = match &handled.result {
        Ok(Outcome::Done(_)) => Sample::Success,
        Ok(Outcome::Failed(f)) if f.kind == FailureKind::Reject => Sample::Neutral,
        Err(f) if f.kind == FaultKind::NotRun => Sample::Neutral,
        Ok(Outcome::Failed(_)) | Err(_) => Sample::Failure,
    };
    let mut breaker = breaker.lock();
    let before = breaker.level();
    breaker.record(ticket, sample, Instant::now());
    let level = breaker.level();
    drop(breaker);
    route.metrics.breaker.set(level);
    if level != before {
        tracing::warn!(plugin = %route.spec.plugin, state = ["closed", "half-open", "open"][level.clamp(0, 2) as usize], "breaker");
    }
}

fn error_type(handled: &Handled) -> &'static str {
    match &handled.result {
        Ok(Outcome::Done(_)) => "",
        Ok(Outcome::Failed(failure)) => match failure.kind {
            FailureKind::Retry => "retry",
            FailureKind::Reject => "rejected",
            FailureKind::Unavailable => "unavailable",
        },
        Err(fault) => fault.kind.as_str(),
    }
}

/// Does what was decided: commits, or keeps the message for later. The lane goes on once its head is committed.
fn carry_out(crew: &Crew, job: Job, step: Step, version: Arc<str>, desk: &mut Desk) {
    match step {
        Step::Accept(returned) => {
            match outputs::address(&job.route, job.delivery.message(), returned) {
                Ok(publications) => {
                    commit(job, publications, Settlement::Accept, None, version, desk);
                }
                Err(fault) => {
                    let attempts = job.delivery.message().attempts;
                    let policy = job.route.policy;
                    let step = attempt::decide(Err(fault), attempts, &policy, 0.5);
                    carry_out(crew, job, step, version, desk);
                }
            }
        }
        Step::Again {
            after,
            attempts,
            wait,
            why,
        } => {
            let message = job.delivery.message();
            let first_failed_ms = first_failed(&job, attempts);
            tracing::warn!(plugin = %job.route.spec.plugin, subscription = %job.route.spec.name, message_id = %message.id,
                position = %message.origin.position, attempts, after_ms = after.as_millis() as u64, reason = %why, "will be tried again");
            match wait {
                Wait::AtBroker => {
                    let settlement = Settlement::Release {
                        after: Some(after),
                        attempts,
                        first_failed_ms,
                    };
                    commit(job, Vec::new(), settlement, None, version, desk);
                }
                Wait::InHost => {
                    let due = Instant::now() + after;
                    crew.held.keep(job, attempts, first_failed_ms, due);
                }
            }
        }
        Step::DeadLetter {
            cause,
            attempts,
            diagnosis,
        } => {
            let letter = bury(&job, cause, attempts, &diagnosis, &version);
            let told = answer::failure(&job.route, job.delivery.message(), cause, &diagnosis);
            let publications = [Some(letter), told].into_iter().flatten().collect();
            commit(
                job,
                publications,
                Settlement::Accept,
                Some(cause),
                version,
                desk,
            );
        }
    }
}

/// When the first charged attempt of this message failed: just now, where `attempts` counts one that is the first.
fn first_failed(job: &Job, attempts: u32) -> Option<u64> {
    let message = job.delivery.message();
    let now = (attempts > message.attempts).then(|| job.route.clock.now_ms());
    message.first_failed_ms.or(now)
}

fn bury(
    job: &Job,
    cause: Cause,
    attempts: u32,
    diagnosis: &Diagnosis,
    version: &str,
) -> Publication {
    let (route, message) = (&job.route, job.delivery.message());
    tracing::error!(plugin = %route.spec.plugin, subscription = %route.spec.name, message_id = %message.id,
        position = %message.origin.position, %cause, attempts, reason = %diagnosis.reason,
        dead_letters = %route.dead_letters.address, "dead letter");
    let facts = dead_letter::Facts {
        plugin: &route.spec.plugin,
        version,
        cause,
        attempts,
        diagnosis,
        now_ms: route.clock.now_ms(),
    };
    dead_letter::write(message, facts, &route.redact, &route.dead_letters)
}

fn commit(
    job: Job,
    publications: Vec<Publication>,
    settlement: Settlement,
    cause: Option<Cause>,
    version: Arc<str>,
    desk: &mut Desk,
) {
    let Job {
        delivery,
        lane,
        route,
    } = job;
    let inbox = delivery.commit(|parcel| Commit {
        parcel,
        publications,
        settlement,
        cause,
        version,
        lane: lane.map(|lane| lane.number),
    });
    if cause.is_some() && route.on_dead_letter == OnDeadLetter::Halt {
        route.pause(Pause::Halted);
        if let Some(lane) = lane {
            route.lanes.halt(lane);
        }
    } else if let Some(next) = lane.and_then(|lane| route.lanes.complete(lane)) {
        route.ready.push(next);
    }
    desk.done(route, inbox);
}
