//! What a committer has in hand, oldest first, and which of it may be tried now. No awaits, no brokers: every method
//! takes `now`.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::commit::Commit;
use crate::delivery::Entry;
use crate::dispatch::patience::{Doing, Patience, Verdict};
use crate::ports::Settle;

/// First and longest wait before held work is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Commits carried out in one go.
const BATCH: usize = 1024;

/// One commit and how far it has come. Publications that were confirmed are no longer in it.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) commit: Box<Commit>,
    /// A dead letter that was refused for its size has lost its diagnostics.
    pub(super) cut: bool,
    /// Part of it was confirmed elsewhere, so it is not one transaction any more.
    pub(super) begun: bool,
    /// Not before this, for a dead letter that its destination refuses for what it is.
    pub(super) stuck_until: Option<Instant>,
    /// It failed and waits for the next try.
    failed: bool,
}

/// A delivery that was dropped undecided.
#[derive(Debug)]
pub(super) struct Dropped {
    pub(super) settle: Settle,
    pub(super) size: usize,
    pub(super) admitted: bool,
    failed: bool,
}

/// Bounded by the subscription's window.
#[derive(Debug, Default)]
pub(super) struct Pending {
    work: Vec<Work>,
    dropped: Vec<Dropped>,
    /// The wait after the last failure, and when it is over. `None` while all is well.
    backoff: Option<(Duration, Instant)>,
    letting_go: bool,
    /// Lanes of which something was given up: what follows it must be released as well, until all in hand has ended.
    let_go_lanes: HashSet<u32>,
}

impl Work {
    fn new(commit: Box<Commit>) -> Self {
        Self {
            commit,
            cut: false,
            begun: false,
            stuck_until: None,
            failed: false,
        }
    }

    /// Its outputs are all confirmed: letting go of it now would only repeat them.
    fn only_settles(&self) -> bool {
        self.begun && self.commit.publications.is_empty()
    }

    /// It waits for a destination, or behind one of its lane that does. Where only the broker has to be told, giving it up
    /// would be a settlement like any other.
    fn waits_to_publish(&self, behind: bool) -> bool {
        !self.commit.publications.is_empty()
            && (behind || self.failed || self.stuck_until.is_some())
    }

    /// When it may be tried, its lane aside; `None`: at once.
    fn due(&self, retry_at: Option<Instant>) -> Option<Instant> {
        let retry = if self.failed { retry_at } else { None };
        self.stuck_until.max(retry)
    }
}

impl Pending {
    /// Takes what ended.
    pub(super) fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            match entry {
                Entry::Commit(commit) => {
                    let follows = commit
                        .lane
                        .is_some_and(|lane| self.let_go_lanes.contains(&lane));
                    let work = Work::new(commit);
                    if follows {
                        self.release(work)
                    } else {
                        self.work.push(work)
                    }
                }
                Entry::Dropped(parcel) => self.dropped.push(Dropped {
                    settle: Settle::dropped(&parcel),
                    size: parcel.message.size(),
                    admitted: parcel.admitted,
                    failed: false,
                }),
            }
        }
    }

    /// What may be tried now, in order, whole commits and others apart; at most one commit of each lane, and none
    /// behind one that is held.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        whole: impl Fn(&Commit) -> bool,
    ) -> (Vec<Work>, Vec<Work>) {
        let retry_at = self.backoff.map(|(_, at)| at);
        let (mut together, mut apart) = (Vec::new(), Vec::new());
        let mut lanes = HashSet::new();
        let mut rest = Vec::new();
        for work in self.work.drain(..) {
            let lane_is_free = work.commit.lane.is_none_or(|lane| lanes.insert(lane));
            let due = work.due(retry_at).is_none_or(|at| at <= now);
            if !lane_is_free || !due || together.len() + apart.len() >= BATCH {
                rest.push(work);
            } else if !work.begun && whole(&work.commit) {
                together.push(work);
            } else {
                apart.push(work);
            }
        }
        self.work = rest;
        (together, apart)
    }

    /// Takes what was dropped and is due.
    pub(super) fn take_dropped(&mut self, now: Instant) -> Vec<Dropped> {
        let waiting = self.backoff.is_some_and(|(_, at)| now < at);
        let (wait, due) = self
            .dropped
            .drain(..)
            .partition(|d: &Dropped| d.failed && waiting);
        self.dropped = wait;
        due
    }

    /// Puts back what did not go through. It keeps its place before everything that came later in its lane, because
    /// at most one commit of a lane is ever out. With `wait` it is not tried before the back-off is over.
    pub(super) fn hold(&mut self, mut work: Work, wait: bool) {
        work.failed = wait;
        if self.letting_go && !work.only_settles() {
            return self.release(work);
        }
        let lane = work.commit.lane;
        let behind =
            lane.and_then(|_| self.work.iter().position(|other| other.commit.lane == lane));
        match behind {
            Some(at) => self.work.insert(at, work),
            None => self.work.push(work),
        }
    }

    /// Puts back a drop that could not be settled.
    pub(super) fn hold_dropped(&mut self, mut dropped: Dropped) {
        dropped.failed = true;
        self.dropped.push(dropped);
    }

    /// Something failed: wait longer than last time, unless that wait is still going on.
    pub(super) fn back_off(&mut self, now: Instant) {
        let wait = match self.backoff {
            Some((_, at)) if now < at => return,
            Some((wait, _)) => (wait * 2).min(BACKOFF.1),
            None => BACKOFF.0,
        };
        self.backoff = Some((wait, now + wait));
    }

    /// Whether anything that failed still waits.
    pub(super) fn has_failed(&self) -> bool {
        self.work.iter().any(|w| w.failed) || self.dropped.iter().any(|d| d.failed)
    }

    /// Everything that failed has gone through.
    pub(super) fn recovered(&mut self) {
        self.backoff = None;
    }

    /// When something will be due, if there is anything.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let retry_at = self.backoff.map(|(_, at)| at);
        let mut lanes = HashSet::new();
        let heads =
            (self.work.iter()).filter(|w| w.commit.lane.is_none_or(|lane| lanes.insert(lane)));
        let work = heads.map(|w| w.due(retry_at));
        let dropped = self
            .dropped
            .iter()
            .map(|d| if d.failed { retry_at } else { None });
        work.chain(dropped)
            .map(|due| due.unwrap_or_else(Instant::now))
            .min()
    }

    /// Gives up what waits for a destination and has been in hand for as long as its broker lets it: its outputs are
    /// discarded, and it will be handled again. Answers how many those are.
    pub(super) fn give_up(&mut self, now: Instant, patience: Patience) -> usize {
        let before = self.dropped.len();
        while let Some(at) = self.first_over(now, patience) {
            let work = self.work.remove(at);
            self.release(work);
        }
        self.dropped.len() - before
    }

    fn first_over(&self, now: Instant, patience: Patience) -> Option<usize> {
        let waiting = self.waiting_to_publish();
        let mut over = waiting.filter(|(_, work)| {
            let verdict = patience.verdict(work.commit.parcel.delivered, Doing::Queues, now);
            verdict == Verdict::Release
        });
        over.next().map(|(at, _)| at)
    }

    /// When the first of those has to be given up.
    pub(super) fn next_to_give_up(&self, patience: Patience) -> Option<Instant> {
        self.waiting_to_publish()
            .filter_map(|(_, work)| work.commit.parcel.delivered)
            .map(|delivered| patience.end(delivered))
            .min()
    }

    fn waiting_to_publish(&self) -> impl Iterator<Item = (usize, &Work)> {
        let mut lanes = HashSet::new();
        let all = self.work.iter().enumerate();
        all.filter(move |(_, work)| {
            let behind = work.commit.lane.is_some_and(|lane| !lanes.insert(lane));
            work.waits_to_publish(behind)
        })
    }

    /// All in hand has ended, so what comes from now on follows nothing that was given up.
    pub(super) fn all_ended(&mut self) {
        if !self.letting_go {
            self.let_go_lanes.clear();
        }
    }

    /// From now on, what cannot be published is released instead of held: the host is stopping.
    pub(super) fn let_go(&mut self) {
        self.letting_go = true;
        for work in std::mem::take(&mut self.work) {
            let follows = work
                .commit
                .lane
                .is_some_and(|lane| self.let_go_lanes.contains(&lane));
            if !work.only_settles() && (work.failed || work.stuck_until.is_some() || follows) {
                self.release(work);
            } else {
                self.work.push(work);
            }
        }
    }

    /// Whether [`let_go`](Self::let_go) was called.
    pub(super) fn letting_go(&self) -> bool {
        self.letting_go
    }

    /// Its outputs are discarded; the message will be delivered again, and so will all that waits behind it in its lane.
    fn release(&mut self, work: Work) {
        let lane = work.commit.lane;
        self.drop_undone(work);
        let Some(lane) = lane.filter(|lane| self.let_go_lanes.insert(*lane)) else {
            return;
        };
        let (behind, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.work)
            .into_iter()
            .partition(|other| other.commit.lane == Some(lane) && !other.only_settles());
        self.work = rest;
        for work in behind {
            self.drop_undone(work);
        }
    }

    fn drop_undone(&mut self, work: Work) {
        self.dropped.push(Dropped {
            settle: Settle::dropped(&work.commit.parcel),
            size: work.commit.parcel.message.size(),
            admitted: work.commit.parcel.admitted,
            failed: false,
        });
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
