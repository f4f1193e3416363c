//! What becomes of a commit whose publication was refused.

use tokio::time::{Duration, Instant};

use crate::commit::{Cause, Publication};
use crate::config::OnDeadLetter;
use crate::dispatch::answer;
use crate::dispatch::attempt::Diagnosis;
use crate::dispatch::dead_letter;
use crate::dispatch::route::Pause;
use crate::ports::PublishError;

use super::Committer;
use super::pending::Work;
use super::publish::Published;

/// Wait for a dead letter that its destination refuses for what it is.
const STUCK: Duration = Duration::from_secs(30);

/// Whether a publication beside a dead letter tells the requester of the failure.
fn is_answer(publication: Option<&Publication>) -> bool {
    publication.is_some_and(|p| &*p.destination.name == "reply")
}

impl Committer {
    /// Takes the confirmed publications out of a commit, so that a repeat starts where it stopped. `None`: all are
    /// confirmed. `Some(wait)`: it has to be held, and with `wait` not tried again at once.
    pub(super) fn keep_unconfirmed(
        &self,
        work: &mut Work,
        results: Published,
        failed: &mut Option<String>,
    ) -> Option<bool> {
        work.begun |= results.is_empty();
        for (publication, result) in work.commit.publications.iter().zip(&results) {
            if result.is_ok() {
                work.begun = true;
                self.route.metrics.sent(&publication.destination);
            }
        }
        // A refusal for what the message is outweighs one that may pass.
        let for_good = |r: &Result<(), PublishError>| matches!(r, Err(PublishError::Message(_)));
        let at = results
            .iter()
            .position(for_good)
            .or_else(|| results.iter().position(Result::is_err));
        let Some(at) = at else {
            work.begun = true;
            work.commit.publications.clear();
            return None;
        };
        let mut results: Vec<Option<PublishError>> = results.into_iter().map(Result::err).collect();
        let error = results[at].take()?;
        let last_resort = matches!(error, PublishError::Message(_));
        let wait = self.refused(work, at, error, failed);
        if !last_resort {
            let mut confirmed = results
                .iter()
                .enumerate()
                .map(|(i, e)| e.is_none() && i != at);
            work.commit
                .publications
                .retain(|_| !confirmed.next().unwrap_or(false));
        }
        Some(wait)
    }

    /// Decides what becomes of a commit whose publication `index` was refused. True: not to be tried again at once.
    pub(super) fn refused(
        &self,
        work: &mut Work,
        index: usize,
        error: PublishError,
        failed: &mut Option<String>,
    ) -> bool {
        match error {
            PublishError::Destination(why) => {
                let to = work.commit.publications.get(index);
                let name = to.map_or("?", |p| &*p.destination.name);
                *failed = Some(format!("destination `{name}`: {why}"));
                true
            }
            PublishError::Message(why) if work.commit.cause.is_none() => {
                self.undeliverable(work, &why);
                false
            }
            PublishError::Message(why) => {
                if is_answer(work.commit.publications.get(index)) {
                    // Nobody can be told. The dead letter is what counts.
                    work.commit.publications.retain(|p| !is_answer(Some(p)));
                    return false;
                }
                self.unburied(work, &why);
                false
            }
        }
    }

    /// An output can never be published: the message becomes a dead letter instead.
    fn undeliverable(&self, work: &mut Work, why: &str) {
        let route = &self.route;
        let message = &work.commit.parcel.message;
        tracing::error!(plugin = %route.spec.plugin, subscription = %route.spec.name, message_id = %message.id,
            position = %message.origin.position, reason = why, cause = %Cause::Undeliverable, "dead letter");
        let diagnosis = Diagnosis {
            reason: format!("an output cannot be published: {why}"),
            code: None,
            stderr: Vec::new(),
            backtrace: Vec::new(),
        };
        let facts = dead_letter::Facts {
            plugin: &route.spec.plugin,
            version: &work.commit.version,
            cause: Cause::Undeliverable,
            attempts: message.attempts.saturating_add(1),
            diagnosis: &diagnosis,
            now_ms: route.clock.now_ms(),
        };
        let letter = dead_letter::write(message, facts, &route.redact, &route.dead_letters);
        let told = answer::failure(route, message, Cause::Undeliverable, &diagnosis);
        work.commit.publications = [Some(letter), told].into_iter().flatten().collect();
        work.commit.cause = Some(Cause::Undeliverable);
        if route.on_dead_letter == OnDeadLetter::Halt {
            route.pause(Pause::Halted);
        }
    }

    /// A dead letter is refused for what it is.
    fn unburied(&self, work: &mut Work, why: &str) {
        let mut cut = false;
        if !work.cut {
            for publication in &mut work.commit.publications {
                cut |= dead_letter::cut_diagnostics(publication);
            }
        }
        work.cut = true;
        if !cut {
            let message = &work.commit.parcel.message;
            tracing::error!(plugin = %self.route.spec.plugin, message_id = %message.id, position = %message.origin.position,
                dead_letters = %self.route.dead_letters.address, reason = why, "the dead letter is refused: the message stays unsettled");
            work.stuck_until = Some(Instant::now() + STUCK);
        }
    }
}
