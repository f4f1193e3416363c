//! The one place where deliveries end: confirms what a commit publishes, then settles the message.
//!
//! One committer per subscription. It takes all that ended while its last flush was under way and carries it out
//! together; there is no timer, so a lone message is settled at once and a flood is settled in large batches.
//!
//! What can go wrong, and what is done:
//! - *destination* at fault: the outputs are held and published again from where they stopped, the subscription
//!   pauses visibly, nothing is charged;
//! - *message* at fault: it becomes a dead letter, cause `undeliverable`. A dead letter refused for its size loses its
//!   diagnostics first; if it is refused even then it is kept and tried again slowly, and only it (and what follows it
//!   in its lane) stands still;
//! - *settlement* fails: it is tried again; the message is never run again by this host for that.
//!
//! First in, first out: nothing overtakes a held commit of an ordered subscription.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::commit::{Cause, Commit, Publication, Settlement};
use crate::delivery::Entry;
use crate::dispatch::attempt::Diagnosis;
use crate::dispatch::dead_letter;
use crate::dispatch::route::{Pause, Route};
use crate::dispatch::window::Window;
use crate::ports::{Committed, PublishError, Publisher, Settle, SettleError, Settler};

/// First and longest wait before held work is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Wait for a dead letter that its destination refuses for what it is.
const STUCK: Duration = Duration::from_secs(30);
/// Commits carried out in one go.
const BATCH: usize = 1024;

/// What is needed to end the deliveries of one subscription.
pub struct Committer {
    /// The subscription.
    pub route: Arc<Route>,
    /// Its broker's settling half.
    pub settler: Box<dyn Settler>,
    /// Every broker this plugin publishes to, by configured name.
    pub publishers: HashMap<Arc<str>, Arc<dyn Publisher>>,
    /// The host's window, given back together with the subscription's.
    pub host_window: Arc<Window>,
}

/// One commit and how far it has come.
struct Work {
    commit: Box<Commit>,
    /// All outputs are confirmed; only the settlement is left.
    published: bool,
    /// A dead letter that was refused for its size has lost its diagnostics.
    cut: bool,
    /// Not to be tried before: set for a dead letter that its destination refuses.
    stuck_until: Option<Instant>,
}

/// Whether everything was settled when the committer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Messages whose settlement was not confirmed. They will be delivered again.
    pub unsettled: usize,
}

impl Committer {
    /// Runs until `stop`, and then until nothing is in hand or `give_up`.
    pub async fn run(mut self, stop: CancellationToken, give_up: CancellationToken) -> Flushed {
        let mut state = Pending::default();
        loop {
            if stop.is_cancelled()
                && self.route.window.used().in_hand() == 0
                && state.work.is_empty()
            {
                break;
            }
            let mut entries = Vec::new();
            tokio::select! {
                biased;
                () = give_up.cancelled() => break,
                () = self.route.inbox.take(&mut entries) => {}
                () = wait_until(state.next_try()) => {}
                // Nothing may be in hand at all: look again when stopping begins.
                () = stop.cancelled(), if !stop.is_cancelled() => {}
            }
            state.add(entries);
            self.round(&mut state).await;
        }
        Flushed {
            unsettled: self.route.window.used().in_hand(),
        }
    }

    /// Carries out what is there, as far as it goes.
    async fn round(&mut self, state: &mut Pending) {
        let dropped = std::mem::take(&mut state.dropped);
        self.settle_dropped(state, dropped).await;
        let now = Instant::now();
        let held_back = state.retry_at.is_some_and(|at| now < at);
        let mut failed = None;
        let mut later = Vec::new();
        let mut rest = std::mem::take(&mut state.work).into_iter().peekable();
        while rest.peek().is_some() {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(work) = rest.next()
            {
                let waits = self.waits(&work, &later, held_back, now);
                if waits {
                    later.push(work)
                } else {
                    batch.push(work)
                }
            }
            self.carry_out(batch, &mut later, &mut failed).await;
        }
        state.work = later;
        self.note(state, failed);
    }

    /// Whether `work` has to stay behind what is already held.
    fn waits(&self, work: &Work, later: &[Work], held_back: bool, now: Instant) -> bool {
        if work.stuck_until.is_some_and(|at| now < at) {
            return true;
        }
        let behind_its_lane = work.commit.lane.is_some()
            && later
                .iter()
                .any(|other| other.commit.lane == work.commit.lane);
        let publishes = !work.published && !work.commit.publications.is_empty();
        behind_its_lane || (held_back && publishes)
    }

    /// Publishes and settles one batch. What did not go through ends up in `later`, in order.
    async fn carry_out(
        &mut self,
        batch: Vec<Work>,
        later: &mut Vec<Work>,
        failed: &mut Option<String>,
    ) {
        let (whole, apart): (Vec<Work>, Vec<Work>) =
            batch.into_iter().partition(|w| self.is_whole(w));
        let mut unfinished = Vec::new();
        if !whole.is_empty() {
            self.commit_whole(whole, &mut unfinished, failed).await;
        }
        if !apart.is_empty() {
            self.publish_then_settle(apart, &mut unfinished, failed)
                .await;
        }
        later.append(&mut unfinished);
    }

    /// Whether a commit is one transaction at its own broker.
    fn is_whole(&self, work: &Work) -> bool {
        !work.published
            && (work.commit.publications.iter()).all(|p| self.settler.atomic_with(&p.destination))
    }

    async fn commit_whole(
        &mut self,
        batch: Vec<Work>,
        later: &mut Vec<Work>,
        failed: &mut Option<String>,
    ) {
        let commits: Vec<&Commit> = batch.iter().map(|w| &*w.commit).collect();
        let results = self.settler.commit(&commits).await;
        drop(commits);
        let mut done = Done::default();
        for (mut work, result) in batch.into_iter().zip(results) {
            match result {
                Committed::Done => self.finish(&work.commit, &mut done),
                Committed::NotSettled(SettleError::Fenced(why)) => {
                    self.fenced(&work.commit, &why, &mut done)
                }
                Committed::NotSettled(SettleError::Unavailable(why)) => {
                    *failed = Some(why);
                    later.push(work);
                }
                Committed::NotPublished(index, error) => {
                    self.refused(&mut work, index, error, failed);
                    later.push(work);
                }
            }
        }
        self.give_back(done);
    }

    async fn publish_then_settle(
        &mut self,
        mut batch: Vec<Work>,
        later: &mut Vec<Work>,
        failed: &mut Option<String>,
    ) {
        let results = publish(&self.publishers, &batch).await;
        for (work, results) in batch.iter_mut().zip(results) {
            if !work.published {
                self.keep_unconfirmed(work, results, failed);
            }
        }
        let (confirmed, unconfirmed): (Vec<Work>, Vec<Work>) =
            batch.into_iter().partition(|w| w.published);
        later.extend(unconfirmed);
        let settles: Vec<Settle> = confirmed.iter().map(|w| Settle::from(&*w.commit)).collect();
        let results = self.settler.settle(&settles).await;
        let mut done = Done::default();
        for (work, result) in confirmed.into_iter().zip(results) {
            match result {
                Ok(()) => self.finish(&work.commit, &mut done),
                Err(SettleError::Fenced(why)) => self.fenced(&work.commit, &why, &mut done),
                Err(SettleError::Unavailable(why)) => {
                    *failed = Some(why);
                    later.push(work);
                }
            }
        }
        self.give_back(done);
    }

    /// Drops the confirmed publications of a commit, so that a repeat starts where it stopped.
    fn keep_unconfirmed(&self, work: &mut Work, results: Published, failed: &mut Option<String>) {
        let mut refused = None;
        let mut confirmed = vec![false; work.commit.publications.len()];
        for (p, result) in results {
            match result {
                Ok(()) => confirmed[p] = true,
                // A refusal for what the message is outweighs one that may pass.
                Err(error @ PublishError::Message(_)) => refused = Some((p, error)),
                Err(error) => {
                    refused.get_or_insert((p, error));
                }
            }
        }
        let sent = confirmed.iter().filter(|c| **c).count();
        self.route.metrics.sent.inc_by(sent as u64);
        match refused {
            // An answer that says nothing of a publication does not confirm it.
            None if sent < confirmed.len() => {
                *failed = Some("a publisher left a publication unanswered".to_owned());
                let mut keep = confirmed.iter().map(|c| !c);
                work.commit
                    .publications
                    .retain(|_| keep.next().unwrap_or(true));
            }
            None => {
                work.published = true;
                work.commit.publications.clear();
            }
            Some((p, error @ PublishError::Message(_))) => self.refused(work, p, error, failed),
            Some((p, error)) => {
                self.refused(work, p, error, failed);
                let mut keep = confirmed.iter().map(|c| !c);
                work.commit
                    .publications
                    .retain(|_| keep.next().unwrap_or(true));
            }
        }
    }

    /// Decides what becomes of a commit whose publication was refused.
    fn refused(
        &self,
        work: &mut Work,
        index: usize,
        error: PublishError,
        failed: &mut Option<String>,
    ) {
        match error {
            PublishError::Destination(why) => {
                let to = work.commit.publications.get(index);
                let name = to.map_or("?", |p| &*p.destination.name);
                *failed = Some(format!("destination `{name}`: {why}"));
            }
            PublishError::Message(why) if work.commit.cause.is_none() => {
                self.undeliverable(work, &why)
            }
            PublishError::Message(why) => self.unburied(work, &why),
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
        work.commit.publications = vec![letter];
        work.commit.cause = Some(Cause::Undeliverable);
    }

    /// A dead letter is refused for what it is.
    fn unburied(&self, work: &mut Work, why: &str) {
        let cut = !work.cut
            && work
                .commit
                .publications
                .iter_mut()
                .fold(false, |any, p| dead_letter::cut_diagnostics(p) || any);
        work.cut = true;
        if !cut {
            let message = &work.commit.parcel.message;
            tracing::error!(plugin = %self.route.spec.plugin, message_id = %message.id, position = %message.origin.position,
                dead_letters = %self.route.dead_letters.address, reason = why, "the dead letter is refused: the message stays unsettled");
            work.stuck_until = Some(Instant::now() + STUCK);
        }
    }

    /// Everything that was dropped undecided goes back to the broker.
    async fn settle_dropped(&mut self, state: &mut Pending, dropped: Vec<Settled>) {
        if dropped.is_empty() {
            return;
        }
        let settles: Vec<Settle> = dropped.iter().map(|d| d.settle).collect();
        let results = self.settler.settle(&settles).await;
        let mut done = Done::default();
        let mut failed = None;
        for (one, result) in dropped.into_iter().zip(results) {
            match result {
                Err(SettleError::Unavailable(why)) => {
                    state.dropped.push(one);
                    failed = Some(why);
                    continue;
                }
                Ok(()) => self.route.metrics.released.inc(),
                Err(SettleError::Fenced(_)) => self.route.metrics.fenced.inc(),
            };
            done.messages += 1;
            done.bytes += one.size;
        }
        if failed.is_some() {
            self.note(state, failed);
        }
        self.give_back(done);
    }

    fn finish(&self, commit: &Commit, done: &mut Done) {
        let metrics = &self.route.metrics;
        metrics.sent.inc_by(commit.publications.len() as u64);
        if let Settlement::Release { .. } = commit.settlement {
            metrics.released.inc();
        }
        if let Some(cause) = commit.cause {
            metrics.dead_letter(cause);
        }
        done.messages += 1;
        done.bytes += commit.parcel.message.size();
    }

    fn fenced(&self, commit: &Commit, why: &str, done: &mut Done) {
        let message = &commit.parcel.message;
        tracing::warn!(plugin = %self.route.spec.plugin, subscription = %self.route.spec.name, message_id = %message.id,
            position = %message.origin.position, reason = why, "not settled: another owner has it");
        self.route.metrics.fenced.inc();
        done.messages += 1;
        done.bytes += message.size();
    }

    fn give_back(&self, done: Done) {
        if done.messages > 0 {
            self.host_window.give(done.messages, done.bytes);
            self.route.window.give(done.messages, done.bytes);
            let in_hand = self.route.window.used().in_hand();
            self.route.metrics.in_flight.set(in_hand as i64);
        }
    }

    /// Pauses or resumes after a round, and sets when to try again.
    fn note(&self, state: &mut Pending, failed: Option<String>) {
        match failed {
            Some(why) => {
                let wait = state.backoff.map_or(BACKOFF.0, |b| (b * 2).min(BACKOFF.1));
                state.backoff = Some(wait);
                state.retry_at = Some(Instant::now() + wait);
                self.route.pause(Pause::Destination(why));
            }
            None if state.retry_at.is_some_and(|at| Instant::now() < at) => {}
            None => {
                state.backoff = None;
                state.retry_at = None;
                self.route
                    .resume(|why| matches!(why, Pause::Destination(_)));
            }
        }
    }
}

/// What became of one commit's publications, by their position in it.
type Published = Vec<(usize, Result<(), PublishError>)>;

/// Publishes what is not yet confirmed, to all brokers at once, in order within each.
async fn publish(
    publishers: &HashMap<Arc<str>, Arc<dyn Publisher>>,
    batch: &[Work],
) -> Vec<Published> {
    let mut by_broker: HashMap<Arc<str>, Vec<(usize, usize)>> = HashMap::new();
    for (w, work) in batch.iter().enumerate().filter(|(_, w)| !w.published) {
        for (p, publication) in work.commit.publications.iter().enumerate() {
            let broker = Arc::clone(&publication.destination.broker);
            by_broker.entry(broker).or_default().push((w, p));
        }
    }
    let sends = by_broker.into_iter().map(|(broker, places)| async move {
        let batch: Vec<&Publication> = places
            .iter()
            .map(|(w, p)| &batch[*w].commit.publications[*p])
            .collect();
        let results = match publishers.get(&broker) {
            Some(publisher) => publisher.publish(&batch).await,
            None => vec![
                Err(PublishError::Destination(format!(
                    "broker `{broker}` is not open"
                )));
                batch.len()
            ],
        };
        (places, results)
    });
    let mut by_work = vec![Vec::new(); batch.len()];
    for (places, results) in join_all(sends).await {
        for ((w, p), result) in places.into_iter().zip(results) {
            by_work[w].push((p, result));
        }
    }
    by_work
}

/// Messages whose settlement was carried out in a round.
#[derive(Default)]
struct Done {
    messages: usize,
    bytes: usize,
}

/// A delivery that was dropped undecided.
struct Settled {
    settle: Settle,
    size: usize,
}

/// What the committer has in hand, oldest first. Bounded by the subscription's window.
#[derive(Default)]
struct Pending {
    work: Vec<Work>,
    dropped: Vec<Settled>,
    backoff: Option<Duration>,
    retry_at: Option<Instant>,
}

impl Pending {
    fn add(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match entry {
                Entry::Commit(commit) => self.work.push(Work {
                    commit,
                    published: false,
                    cut: false,
                    stuck_until: None,
                }),
                Entry::Dropped(parcel) => self.dropped.push(Settled {
                    settle: Settle::dropped(&parcel),
                    size: parcel.message.size(),
                }),
            }
        }
    }

    /// When held work is due, if there is any.
    fn next_try(&self) -> Option<Instant> {
        if self.work.is_empty() && self.dropped.is_empty() {
            return None;
        }
        let stuck = self.work.iter().filter_map(|w| w.stuck_until).min();
        let all_stuck = self.work.iter().all(|w| w.stuck_until.is_some());
        let retry = self.retry_at.or_else(|| (!all_stuck).then(Instant::now));
        match (retry, stuck) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
