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
//! Order: a batch carries at most one commit of a lane, and a commit of a lane waits while an earlier one of it is
//! held ([`pending`]). So an order promise needs nothing from the adapters, at the price of one flush per message of
//! the same lane.

mod pending;
mod publish;
mod refusal;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::commit::{Commit, Settlement};
use crate::dispatch::route::{Pause, Route};
use crate::dispatch::sweep;
use crate::dispatch::window::Window;
use crate::ports::{Committed, PublishError, Publisher, Settle, SettleError, Settler};

use self::pending::{Dropped, Pending, Work};

/// What is needed to end the deliveries of one subscription.
pub(super) struct Committer {
    /// The subscription.
    pub(super) route: Arc<Route>,
    /// Its broker's settling half.
    pub(super) settler: Box<dyn Settler>,
    /// Every broker this plugin publishes to, by configured name.
    pub(super) publishers: HashMap<Arc<str>, Arc<dyn Publisher>>,
    /// The host's window, given back together with the subscription's.
    pub(super) host_window: Arc<Window>,
}

/// When a committer has to come to an end.
#[derive(Clone, Default)]
pub(super) struct Ends {
    /// No more deliveries will be made: end once none is outstanding.
    pub(super) finish: CancellationToken,
    /// What cannot be published now is released instead.
    pub(super) let_go: CancellationToken,
    /// End at once.
    pub(super) give_up: CancellationToken,
}

/// Whether everything was settled when the committer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flushed {
    /// Messages whose settlement was not confirmed. They will be delivered again.
    pub(super) unsettled: usize,
}

/// Messages whose settlement was carried out.
#[derive(Default)]
struct Done {
    all: usize,
    /// Those that had a place in the windows, and their bytes.
    admitted: usize,
    bytes: usize,
}

impl Committer {
    /// Runs until `ends` says so.
    pub(super) async fn run(mut self, ends: Ends) -> Flushed {
        let mut pending = Pending::default();
        let mut entries = Vec::new();
        loop {
            if ends.finish.is_cancelled() && self.route.inbox.outstanding() == 0 {
                break;
            }
            tokio::select! {
                biased;
                () = ends.give_up.cancelled() => break,
                () = self.route.inbox.take(&mut entries) => {}
                () = wait_until(self.next(&pending)) => {}
                () = ends.finish.cancelled(), if !ends.finish.is_cancelled() => {}
                () = ends.let_go.cancelled(), if !pending.letting_go() => pending.let_go(),
            }
            pending.add(entries.drain(..));
            // A flush that hangs must not outlive the drain. What it was doing is reported as unsettled.
            tokio::select! {
                biased;
                () = ends.give_up.cancelled() => break,
                () = self.round(&mut pending) => {}
            }
        }
        Flushed {
            unsettled: self.route.inbox.outstanding(),
        }
    }

    /// When there will be something to do.
    fn next(&self, pending: &Pending) -> Option<Instant> {
        let patience = self.route.patience;
        let give_up = patience.and_then(|patience| pending.next_to_give_up(patience));
        pending.next_try().into_iter().chain(give_up).min()
    }

    /// What waits for a destination for longer than its broker lets it goes back, its outputs discarded.
    fn give_up(&self, pending: &mut Pending, now: Instant) {
        let Some(patience) = self.route.patience else {
            return;
        };
        let count = pending.give_up(now, patience);
        if count > 0 {
            let behind = self.route.rewind();
            sweep::tell(&self.route, count + behind);
        }
    }

    /// Carries out everything that is due.
    async fn round(&mut self, pending: &mut Pending) {
        let now = Instant::now();
        let mut failed = None;
        self.give_up(pending, now);
        let dropped = pending.take_dropped(now);
        if !dropped.is_empty() {
            self.settle_dropped(pending, dropped, &mut failed).await;
        }
        let (whole, apart) = pending.take_due(now, |commit| self.is_whole(commit));
        if !whole.is_empty() {
            self.commit_whole(whole, pending, &mut failed).await;
        }
        if !apart.is_empty() {
            self.publish_then_settle(apart, pending, &mut failed).await;
        }
        match failed {
            Some(why) => {
                pending.back_off(Instant::now());
                self.route.pause(Pause::Destination(why));
            }
            None if pending.has_failed() => {}
            None => {
                pending.recovered();
                self.route
                    .resume(|why| matches!(why, Pause::Destination(_)));
            }
        }
    }

    /// Whether a commit is one transaction at its own broker.
    fn is_whole(&self, commit: &Commit) -> bool {
        (commit.publications.iter()).all(|p| self.settler.atomic_with(&p.destination))
    }

    async fn commit_whole(
        &mut self,
        batch: Vec<Work>,
        pending: &mut Pending,
        failed: &mut Option<String>,
    ) {
        let commits: Vec<&Commit> = batch.iter().map(|w| &*w.commit).collect();
        let results = self.settler.commit(&commits).await;
        drop(commits);
        let mut results = results.into_iter();
        let mut done = Done::default();
        for mut work in batch {
            match results.next().unwrap_or_else(silent) {
                Committed::Done => {
                    for publication in &work.commit.publications {
                        self.route.metrics.sent(&publication.destination);
                    }
                    self.finish(&work.commit, &mut done);
                }
                Committed::NotSettled(SettleError::Fenced(why)) => {
                    self.fenced(&work.commit, &why, &mut done)
                }
                Committed::NotSettled(SettleError::Unavailable(why)) => {
                    *failed = Some(why);
                    pending.hold(work, true);
                }
                Committed::NotPublished(index, error) => {
                    let wait = self.refused(&mut work, index, error, failed);
                    pending.hold(work, wait);
                }
            }
        }
        self.give_back(&done, pending);
    }

    async fn publish_then_settle(
        &mut self,
        mut batch: Vec<Work>,
        pending: &mut Pending,
        failed: &mut Option<String>,
    ) {
        let results = publish::all(&self.publishers, &batch).await;
        let mut confirmed = Vec::with_capacity(batch.len());
        for (mut work, results) in batch.drain(..).zip(results) {
            match self.keep_unconfirmed(&mut work, results, failed) {
                None => confirmed.push(work),
                Some(wait) => pending.hold(work, wait),
            }
        }
        let settles: Vec<Settle> = confirmed.iter().map(|w| Settle::from(&*w.commit)).collect();
        let mut results = self.settler.settle(&settles).await.into_iter();
        let mut done = Done::default();
        for work in confirmed {
            match results.next().unwrap_or_else(|| Err(too_few())) {
                Ok(()) => self.finish(&work.commit, &mut done),
                Err(SettleError::Fenced(why)) => self.fenced(&work.commit, &why, &mut done),
                Err(SettleError::Unavailable(why)) => {
                    *failed = Some(why);
                    pending.hold(work, true);
                }
            }
        }
        self.give_back(&done, pending);
    }

    /// Everything that was dropped undecided goes back to the broker.
    async fn settle_dropped(
        &mut self,
        pending: &mut Pending,
        dropped: Vec<Dropped>,
        failed: &mut Option<String>,
    ) {
        let settles: Vec<Settle> = dropped.iter().map(|d| d.settle).collect();
        let mut results = self.settler.settle(&settles).await.into_iter();
        let mut done = Done::default();
        for one in dropped {
            match results.next().unwrap_or_else(|| Err(too_few())) {
                Err(SettleError::Unavailable(why)) => {
                    *failed = Some(why);
                    pending.hold_dropped(one);
                    continue;
                }
                Ok(()) => self.route.metrics.released.inc(),
                Err(SettleError::Fenced(_)) => self.route.metrics.fenced.inc(),
            };
            done.add(one.admitted, one.size);
        }
        self.give_back(&done, pending);
    }

    fn finish(&self, commit: &Commit, done: &mut Done) {
        let metrics = &self.route.metrics;
        if let Settlement::Release { .. } = commit.settlement {
            metrics.released.inc();
        }
        if let Some(cause) = commit.cause {
            metrics.dead_letter(cause);
        }
        done.add(commit.parcel.admitted, commit.parcel.message.size());
    }

    fn fenced(&self, commit: &Commit, why: &str, done: &mut Done) {
        let message = &commit.parcel.message;
        tracing::warn!(plugin = %self.route.spec.plugin, subscription = %self.route.spec.name, message_id = %message.id,
            position = %message.origin.position, reason = why, "not settled: another owner has it");
        self.route.metrics.fenced.inc();
        done.add(commit.parcel.admitted, message.size());
    }

    fn give_back(&self, done: &Done, pending: &mut Pending) {
        // Before anybody can see it: what is read next would be taken for what follows.
        if self.route.inbox.outstanding() == done.all {
            pending.all_ended();
        }
        self.route.inbox.ended(done.all);
        self.host_window.give(done.admitted, done.bytes);
        self.route.window.give(done.admitted, done.bytes);
        let in_hand = self.route.window.used().in_hand();
        self.route.metrics.in_flight.set(in_hand as i64);
    }
}

impl Done {
    fn add(&mut self, admitted: bool, size: usize) {
        self.all += 1;
        if admitted {
            self.admitted += 1;
            self.bytes += size;
        }
    }
}

/// An adapter that answers too little has done nothing that could be relied on.
fn too_few() -> SettleError {
    SettleError::Unavailable("the broker's adapter answered too few results".into())
}

fn silent() -> Committed {
    Committed::NotSettled(too_few())
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The error a publication without an answer is given.
fn unanswered() -> PublishError {
    PublishError::Destination("the broker's adapter answered too few results".into())
}
