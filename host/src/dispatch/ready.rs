//! Messages whose turn has come, per plugin. Any idle instance takes the next one: never a queue owned by an instance.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::dispatch::route::Job;

/// A plugin's queue. Bounded by the windows of its subscriptions: every job in it has a place there.
#[derive(Debug)]
pub(super) struct Ready {
    queue: Mutex<Queue>,
    /// Rung once for each job that a waiting worker could take. A ring nobody waits for is stored once, and a worker
    /// looks at the queue before it waits, so none is missed; who was woken passes it on while there is more, because
    /// a stored ring stands for any number of jobs.
    bell: Notify,
    workers: usize,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Ready {
    /// For a plugin with that many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            queue: Mutex::default(),
            bell: Notify::new(),
            workers,
        }
    }

    /// Adds a job at the end. After [`close`](Self::close) it is dropped, which releases it.
    pub(super) fn push(&self, job: Job) {
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
    pub(super) fn extend(&self, jobs: Vec<Job>) {
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
        for _ in 0..n.min(self.workers) {
            self.bell.notify_one();
        }
    }

    /// The next job, or `None` once closed. Cancel-safe.
    pub(super) async fn pop(&self) -> Option<Job> {
        let mut woken = false;
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some(job) = queue.jobs.pop_front() {
                    let more = !queue.jobs.is_empty();
                    drop(queue);
                    if more && woken {
                        self.bell.notify_one();
                    }
                    return Some(job);
                }
                if queue.closed {
                    drop(queue);
                    self.bell.notify_one();
                    return None;
                }
            }
            self.bell.notified().await;
            woken = true;
        }
    }

    /// Takes no more and releases what waits: [`pop`](Self::pop) answers `None` from now on.
    pub(super) fn close(&self) {
        let jobs = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.jobs)
        };
        drop(jobs);
        self.bell.notify_waiters();
        self.bell.notify_one();
    }
}
