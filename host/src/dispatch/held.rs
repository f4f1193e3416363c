//! Messages that wait in the host for their next attempt, because an order promise keeps their lane or because their
//! broker cannot delay. Others wait at their broker.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::dispatch::route::Job;

/// One plugin's waiting room. Bounded by the windows of its subscriptions (`Used::held`).
#[derive(Debug, Default)]
pub(super) struct Held {
    heap: Mutex<Heap>,
    /// Rung when something earlier than the task's present wait arrives, and on close.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Heap {
    jobs: BinaryHeap<Reverse<Waiting>>,
    /// Keeps jobs that are due together in the order they came.
    next: u64,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    number: u64,
    job: Job,
    charged: u32,
    first_failed_ms: Option<u64>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl Held {
    /// Keeps a job until `due`. `charged` are its attempts so far, `first_failed_ms` when the first of them failed.
    pub(super) fn keep(&self, job: Job, charged: u32, first_failed_ms: Option<u64>, due: Instant) {
        job.route.window.hold();
        job.route.metrics.held.inc();
        {
            let mut heap = self.heap.lock();
            if heap.closed {
                drop(heap);
                // Dropping it releases it; its attempts go along.
                drop(leave(job, charged, first_failed_ms));
                return;
            }
            let number = heap.next;
            heap.next += 1;
            heap.jobs.push(Reverse(Waiting {
                due,
                number,
                job,
                charged,
                first_failed_ms,
            }));
        }
        self.earlier.notify_one();
    }

    /// Hands jobs back to their plugin's queue when they are due, until closed.
    pub(super) async fn run(&self) {
        loop {
            let due = {
                let heap = self.heap.lock();
                if heap.closed {
                    return;
                }
                heap.jobs.peek().map(|Reverse(w)| w.due)
            };
            match due {
                None => self.earlier.notified().await,
                Some(due) if due <= Instant::now() => self.release_due(),
                Some(due) => tokio::select! {
                    () = sleep_until(due) => self.release_due(),
                    () = self.earlier.notified() => {}
                },
            }
        }
    }

    fn release_due(&self) {
        let now = Instant::now();
        let mut due = Vec::new();
        {
            let mut heap = self.heap.lock();
            while heap.jobs.peek().is_some_and(|Reverse(w)| w.due <= now) {
                due.extend(heap.jobs.pop());
            }
        }
        for Reverse(waiting) in due {
            let job = leave(waiting.job, waiting.charged, waiting.first_failed_ms);
            let ready = std::sync::Arc::clone(&job.route.ready);
            ready.push(job);
        }
    }

    /// Whether one that waits is so, given when it is due. All are asked.
    pub(super) fn any(&self, mut is_so: impl FnMut(&Job, Instant) -> bool) -> bool {
        let heap = self.heap.lock();
        let mut any = false;
        for Reverse(waiting) in &heap.jobs {
            any |= is_so(&waiting.job, waiting.due);
        }
        any
    }

    /// Gives what is so back to its broker, with the attempts it was charged and the rest of its delay. Answers how many.
    pub(super) fn give_back(
        &self,
        now: Instant,
        mut is_so: impl FnMut(&Job, Instant) -> bool,
    ) -> usize {
        let back: Vec<_> = {
            let mut heap = self.heap.lock();
            let all = std::mem::take(&mut heap.jobs).into_iter();
            let (back, keep): (Vec<_>, Vec<_>) =
                all.partition(|Reverse(waiting)| is_so(&waiting.job, waiting.due));
            heap.jobs = keep.into();
            back
        };
        let count = back.len();
        for Reverse(waiting) in back {
            let job = leave(waiting.job, waiting.charged, waiting.first_failed_ms);
            let rest = waiting.due.saturating_duration_since(now);
            job.delivery.release_after(rest);
        }
        count
    }

    /// Gives everything back to the brokers, with the attempts it was charged.
    pub(super) fn close(&self) {
        let jobs = {
            let mut heap = self.heap.lock();
            heap.closed = true;
            std::mem::take(&mut heap.jobs)
        };
        for Reverse(waiting) in jobs {
            drop(leave(waiting.job, waiting.charged, waiting.first_failed_ms));
        }
        self.earlier.notify_one();
    }
}

/// Takes a job out of the waiting room: it has its place again, and its attempts are noted on it.
fn leave(mut job: Job, charged: u32, first_failed_ms: Option<u64>) -> Job {
    job.route.window.unhold();
    job.route.metrics.held.dec();
    job.delivery.charge(charged, first_failed_ms);
    job
}
