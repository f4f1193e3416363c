//! What waits for the writer thread.
//!
//! Callers are asynchronous and the writer is a thread that must also wake up by itself, to see what other processes
//! wrote; so this is a locked deque with a condition variable on the thread's side and a semaphore on the callers'.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;

use super::error::Error;
use super::job::Job;

/// Most jobs that may wait; a caller beyond it waits for its turn.
const WAITING: usize = 1024;
/// Most jobs and bytes of one transaction, so that other processes get their turn between two.
const BATCH_JOBS: usize = 256;
const BATCH_BYTES: usize = 16 << 20;

/// The jobs, and whether there will be more. One lock, held for a push or for moving a batch out.
#[derive(Default)]
struct Waiting {
    /// Each with whether it holds one of the semaphore's permits.
    jobs: VecDeque<(Box<dyn Job>, bool)>,
    closed: bool,
}

/// The bounded queue before the writer.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the writer: something was pushed, or the queue was closed.
    changed: Condvar,
    /// One permit per place. Taken by callers that can wait, given back by the writer for each job it takes.
    room: Semaphore,
}

/// What the writer found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// At least one job.
    Jobs,
    /// Nothing came in time.
    Idle,
    /// Closed, and nothing is left.
    Closed,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            room: Semaphore::new(WAITING),
        }
    }

    /// Waits for a place, then queues. Nothing is queued when cancelled while waiting.
    pub(super) async fn push(&self, job: Box<dyn Job>) -> Result<(), Error> {
        let permit = self.room.acquire().await.map_err(|_| Error::Closed)?;
        permit.forget();
        self.enqueue(job, true)
    }

    /// Queues without waiting for a place: for what a dropped source gives back, at most once per source.
    pub(super) fn push_now(&self, job: Box<dyn Job>) -> Result<(), Error> {
        self.enqueue(job, false)
    }

    fn enqueue(&self, job: Box<dyn Job>, permit: bool) -> Result<(), Error> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Error::Closed);
        }
        waiting.jobs.push_back((job, permit));
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// No more jobs; those waiting are still carried out.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.room.close();
        self.changed.notify_one();
    }

    /// Moves what waits into `batch`; waits up to `patience` for the first.
    pub(super) fn take(&self, batch: &mut Vec<Box<dyn Job>>, patience: Duration) -> Taken {
        let mut waiting = self.waiting.lock();
        if waiting.jobs.is_empty() && !waiting.closed {
            self.changed.wait_for(&mut waiting, patience);
        }
        let mut bytes = 0;
        let mut permits = 0;
        while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES {
            let Some((job, permit)) = waiting.jobs.pop_front() else {
                break;
            };
            bytes += job.weight();
            permits += usize::from(permit);
            batch.push(job);
        }
        let closed = waiting.closed;
        drop(waiting);
        if !batch.is_empty() {
            self.room.add_permits(permits);
            Taken::Jobs
        } else if closed {
            Taken::Closed
        } else {
            Taken::Idle
        }
    }
}
