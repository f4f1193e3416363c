//! The one thread that writes, and its group commit.
//!
//! Whatever queued while the last transaction ran is carried out in the next one, then all are answered: no timer, one
//! `fsync` for everybody who waited. A transaction that only hands out messages is not synchronised at all. When a
//! transaction fails, each of its jobs is run again in one of its own, so that one bad request does not fail the others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::error::Error;
use super::job::Job;
use super::ledger::Ledger;
use super::lock::OwnerLock;
use super::queue::{Queue, Taken};
use super::reaper::Reaper;
use crate::config::Sync;
use crate::ports::Health;

/// How soon what another process wrote is seen, at the latest.
const GLANCE: Duration = Duration::from_millis(20);

/// What the writer thread and the handles share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    /// Who wants to know about which topic. Locked by the writer after each commit, and by a subscription for an instant.
    pub(super) listeners: Mutex<Listeners>,
    /// What the last transaction said.
    pub(super) health: Mutex<Health>,
}

/// Who wants to know about news, by topic. Gone ones are dropped when somebody joins.
#[derive(Default)]
pub(super) struct Listeners {
    by_topic: HashMap<Arc<str>, Vec<Weak<Notify>>>,
}

impl Listeners {
    /// Wakes `news` after every commit that may have brought something to one of `topics`.
    pub(super) fn join(&mut self, topics: impl Iterator<Item = Arc<str>>, news: &Arc<Notify>) {
        self.by_topic.retain(|_, listeners| {
            listeners.retain(|listener| listener.strong_count() > 0);
            !listeners.is_empty()
        });
        for topic in topics {
            self.by_topic
                .entry(topic)
                .or_default()
                .push(Arc::downgrade(news));
        }
    }

    fn tell(&self, topic: &str) {
        for listener in self.by_topic.get(topic).into_iter().flatten() {
            if let Some(news) = listener.upgrade() {
                news.notify_one();
            }
        }
    }
}

/// The thread's own state.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) ledger: Ledger,
    pub(super) shared: Arc<Shared>,
    pub(super) sync: Sync,
    /// Only the owner deletes.
    pub(super) reaper: Option<Reaper>,
    /// Held until the thread ends.
    pub(super) lock: Option<OwnerLock>,
    /// What `PRAGMA synchronous` is set to.
    full: bool,
    /// The broker's health is bad because of work of our own, and good again when that succeeds. What a caller was
    /// refused is over only when a caller succeeds.
    troubled: bool,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        ledger: Ledger,
        shared: Arc<Shared>,
        sync: Sync,
        owner: Option<(OwnerLock, Reaper)>,
    ) -> Self {
        let (lock, reaper) = owner.unzip();
        Self {
            path,
            ledger,
            shared,
            sync,
            reaper,
            lock,
            full: true,
            troubled: false,
        }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            match self.shared.queue.take(&mut batch, GLANCE) {
                Taken::Jobs => {
                    self.carry_out(&mut batch);
                    self.reap(false);
                }
                Taken::Idle => {
                    self.glance();
                    self.reap(true);
                }
                Taken::Closed => break,
            }
        }
        self.end();
    }

    /// Runs a batch in one transaction; where that fails, each job alone.
    fn carry_out(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        match self.transact(batch) {
            Ok(()) => self.answer(batch.drain(..), &Ok(())),
            Err(error) if batch.len() == 1 => self.answer(batch.drain(..), &Err(error)),
            Err(_) => {
                for mut job in batch.drain(..) {
                    let outcome = self.transact(std::slice::from_mut(&mut job));
                    self.answer(std::iter::once(job), &outcome);
                }
            }
        }
    }

    fn answer(&mut self, jobs: impl Iterator<Item = Box<dyn Job>>, outcome: &Result<(), Error>) {
        self.troubled = false;
        self.show(outcome);
        for job in jobs {
            if let Some(back) = job.answer(outcome.clone()) {
                // Refused only when closing; then the next owner finds the messages in hand and takes them back.
                let _closing = self.shared.queue.push_now(back);
            }
        }
    }

    fn show(&self, outcome: &Result<(), Error>) {
        *self.shared.health.lock() = match outcome {
            Ok(()) => Health::Ready,
            Err(error) => Health::Waiting(error.to_string()),
        };
    }

    /// One transaction with these jobs, committed or undone.
    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
        let durable = jobs.iter().any(|job| job.durable());
        self.transaction(durable, |ledger| {
            jobs.iter_mut().try_for_each(|job| job.run(ledger))
        })
    }

    fn transaction(
        &mut self,
        durable: bool,
        work: impl FnOnce(&mut Ledger) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        match self.try_transaction(durable, work) {
            Ok(()) => {
                self.committed();
                Ok(())
            }
            Err(error) => {
                // Some errors undo the transaction by themselves.
                if !self.ledger.conn.is_autocommit()
                    && let Err(error) = self.ledger.conn.execute_batch("ROLLBACK")
                {
                    tracing::error!(path = %self.path.display(), %error, "a transaction could not be undone");
                }
                self.ledger.forget();
                Err(Error::from_sqlite(&self.path, &error))
            }
        }
    }

    fn try_transaction(
        &mut self,
        durable: bool,
        work: impl FnOnce(&mut Ledger) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let full = durable && self.sync == Sync::Full;
        if full != self.full {
            let level = if full { "full" } else { "normal" };
            self.ledger.conn.pragma_update(None, "synchronous", level)?;
            self.full = full;
        }
        self.ledger.sql("BEGIN IMMEDIATE")?.execute([])?;
        self.ledger.begin(now_ms())?;
        work(&mut self.ledger)?;
        self.ledger.flush()?;
        self.ledger.sql("COMMIT")?.execute([])?;
        Ok(())
    }

    /// After a commit: tell who waits, and note what can be deleted.
    fn committed(&mut self) {
        if let Some(reaper) = &mut self.reaper {
            reaper.note(&mut self.ledger.settled);
        }
        self.ledger.settled.clear();
        let listeners = self.shared.listeners.lock();
        self.ledger.take_stirred(|topic| listeners.tell(topic));
    }

    /// Nothing to do: look whether another process has written.
    fn glance(&mut self) {
        match self.ledger.foreign_news() {
            Ok(false) => {}
            // The transaction takes note of it and tells whom it concerns.
            Ok(true) => self.report(|writer| writer.transaction(false, |_| Ok(()))),
            Err(error) => self.report(|writer| Err(Error::from_sqlite(&writer.path, &error))),
        }
    }

    fn reap(&mut self, idle: bool) {
        let Some(mut reaper) = self.reaper.take() else {
            return;
        };
        if reaper.wants(now_ms(), idle) {
            self.report(|writer| {
                writer.transaction(false, |ledger| reaper.step(ledger))?;
                reaper.stepped();
                Ok(())
            });
        }
        self.reaper = Some(reaper);
    }

    /// Work of our own has no caller to tell.
    fn report(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Error>) {
        let outcome = work(self);
        if let Err(error) = &outcome {
            if !self.troubled {
                tracing::warn!(path = %self.path.display(), %error, "the embedded broker could not tidy up, it will try again");
            }
            self.troubled = true;
            self.show(&outcome);
        } else if std::mem::take(&mut self.troubled) {
            self.show(&outcome);
        }
    }

    /// Everything into the main file, so that the next owner starts with a short log.
    fn end(self) {
        let checkpoint = self
            .ledger
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            // Nothing is lost: the log is read by whoever opens the file next.
            tracing::debug!(path = %self.path.display(), %error, "no checkpoint at close");
        }
        drop(self.ledger);
        // Last: nobody else may own the file before we have let go of it.
        drop(self.lock);
    }
}

/// Wall-clock time, which is what due times in a file that outlives processes have to be in.
pub(super) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}
