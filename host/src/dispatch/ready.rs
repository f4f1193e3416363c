//! Messages whose turn has come, per plugin. Any idle worker takes the next one: no message waits for a certain worker.
//!
//! A queue that all workers share moves between their caches at every message. So a worker takes some at once, its part
//! of what is there, to a tray of its own. A tray is not a queue of its own: who finds the queue empty takes from the
//! trays of the others, one message at a time, so a message never waits behind a slow one while a worker is idle.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Most that a worker takes to its tray, beside the one it runs. Enough to make the shared queue's price small; more
/// would only be carried back and forth.
const TRAY: usize = 16;

/// A plugin's queue. Bounded by the windows of its subscriptions: every job in it has a place there. `T` is a job in life.
#[derive(Debug)]
pub(super) struct Ready<T> {
    queue: Mutex<Queue<T>>,
    /// Rung once for each job that a waiting worker could take. A ring nobody waits for is stored once, and a worker
    /// looks at queue and trays before it waits, so none is missed; who was woken passes it on while there is more,
    /// because a stored ring stands for any number of jobs.
    bell: Notify,
    trays: Box<[Tray<T>]>,
}

#[derive(Debug)]
struct Queue<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

/// One worker's, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Tray<T>(Mutex<VecDeque<T>>);

/// What a worker gets when it asks without waiting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Job(T),
    /// Nothing just now.
    Nothing,
    /// Nothing any more.
    Closed,
}

impl<T> Ready<T> {
    /// For a plugin with that many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            queue: Mutex::new(Queue {
                jobs: VecDeque::new(),
                closed: false,
            }),
            bell: Notify::new(),
            trays: (0..workers.max(1))
                .map(|_| Tray(Mutex::new(VecDeque::new())))
                .collect(),
        }
    }

    /// Adds a job at the end. After [`close`](Self::close) it is dropped, which releases it.
    pub(super) fn push(&self, job: T) {
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                drop(queue);
                drop(job);
                return;
            }
            queue.jobs.push_back(job);
        }
        self.bell.notify_one();
    }

    /// Adds many with one lock.
    pub(super) fn extend(&self, jobs: Vec<T>) {
        let n = jobs.len();
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                drop(queue);
                drop(jobs);
                return;
            }
            queue.jobs.extend(jobs);
        }
        for _ in 0..n.min(self.trays.len()) {
            self.bell.notify_one();
        }
    }

    /// The next job for that worker (counted from 0), without waiting.
    pub(super) fn try_pop(&self, worker: usize) -> Next<T> {
        if let Some(job) = self.trays[worker].0.lock().pop_front() {
            return Next::Job(job);
        }
        let closed = {
            let mut queue = self.queue.lock();
            if let Some(job) = queue.jobs.pop_front() {
                // A part for everybody, so that the last ones are not all taken by the first who comes.
                let part = (queue.jobs.len() / self.trays.len()).min(TRAY);
                if part > 0 {
                    // Within the queue's lock, so that `close` finds every job in one or the other.
                    self.trays[worker].0.lock().extend(queue.jobs.drain(..part));
                }
                return Next::Job(job);
            }
            queue.closed
        };
        let others = (1..self.trays.len()).map(|i| &self.trays[(worker + i) % self.trays.len()]);
        match others
            .into_iter()
            .find_map(|tray| tray.0.lock().pop_front())
        {
            Some(job) => Next::Job(job),
            None if closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    /// Waits for the next job for that worker; `None` once closed. Cancel-safe.
    pub(super) async fn pop(&self, worker: usize) -> Option<T> {
        let mut woken = false;
        loop {
            match self.try_pop(worker) {
                Next::Job(job) => {
                    if woken && self.has_more(worker) {
                        self.bell.notify_one();
                    }
                    return Some(job);
                }
                Next::Closed => {
                    self.bell.notify_one();
                    return None;
                }
                Next::Nothing => {}
            }
            self.bell.notified().await;
            woken = true;
        }
    }

    /// Whether another worker would find something.
    fn has_more(&self, worker: usize) -> bool {
        // One lock after the other: `close` holds the queue while it asks for the trays.
        let tray = self.trays[worker].0.lock().len();
        tray > 0 || !self.queue.lock().jobs.is_empty()
    }

    /// Takes out what is so, in no certain order: queue and trays, each once.
    pub(super) fn take_out(&self, mut is_so: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        // Within the queue's lock, so that nothing moves from one to the other meanwhile.
        let mut queue = self.queue.lock();
        split(&mut queue.jobs, &mut taken, &mut is_so);
        for tray in &self.trays {
            split(&mut tray.0.lock(), &mut taken, &mut is_so);
        }
        taken
    }

    /// Whether something that waits is so. All are asked.
    pub(super) fn any(&self, mut is_so: impl FnMut(&T) -> bool) -> bool {
        let mut any = false;
        let queue = self.queue.lock();
        for job in &queue.jobs {
            any |= is_so(job);
        }
        for tray in &self.trays {
            for job in tray.0.lock().iter() {
                any |= is_so(job);
            }
        }
        any
    }

    /// Takes no more and releases what waits: workers get [`Next::Closed`] from now on.
    pub(super) fn close(&self) {
        let mut jobs = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            let mut jobs = std::mem::take(&mut queue.jobs);
            for tray in &self.trays {
                jobs.append(&mut tray.0.lock());
            }
            jobs
        };
        jobs.clear();
        self.bell.notify_waiters();
        self.bell.notify_one();
    }
}

/// Moves what is so out of `from`; the rest keeps its order.
fn split<T>(from: &mut VecDeque<T>, into: &mut Vec<T>, mut is_so: impl FnMut(&T) -> bool) {
    if from.iter().any(&mut is_so) {
        let (out, rest): (Vec<T>, Vec<T>) = from.drain(..).partition(|job| is_so(job));
        from.extend(rest);
        into.extend(out);
    }
}

#[cfg(test)]
#[path = "ready_tests.rs"]
mod tests;
