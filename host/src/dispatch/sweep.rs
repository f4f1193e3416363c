//! Gives back what waits in the host for longer than its broker lets it ([`patience`](super::patience)): in lanes, for a
//! worker, for its next attempt. What waits for a destination the committer gives back; what the adapter has read and not
//! handed over, the adapter.
//!
//! One task for each subscription whose broker loses patience, and none for the others. It looks through everything that
//! waits each time, which is seldom.
//!
//! Where an order is promised it is all or nothing: when one message goes back, everything that waits does, whatever its
//! age, and nothing is read before all in hand has ended. Then it comes again from the oldest on. That is also done for
//! messages that only come to wait while the subscription is going back.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::dispatch::held::Held;
use crate::dispatch::patience::{Doing, Patience, Verdict};
use crate::dispatch::route::{Job, Route};

/// Runs until `stop`: then everything goes back anyway.
pub(super) async fn run(
    route: Arc<Route>,
    held: Arc<Held>,
    patience: Patience,
    stop: CancellationToken,
) {
    loop {
        let now = Instant::now();
        let look = sweep(&route, &held, patience, now);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(look) => {}
        }
    }
}

/// Says how many went back.
pub(super) fn tell(route: &Route, count: usize) {
    if count > 0 {
        tracing::info!(plugin = %route.spec.plugin, subscription = %route.spec.name, broker = %route.broker, count,
            "given back: the broker would not wait for them much longer");
    }
}

/// Looks through what waits. Answers when to look again.
fn sweep(route: &Arc<Route>, held: &Held, patience: Patience, now: Instant) -> Instant {
    let mut look = patience.next_look(now);
    let ours = |job: &Job| Arc::ptr_eq(&job.route, route);
    let mut goes = |job: &Job, doing| {
        ours(job)
            && match patience.verdict(job.delivery.delivered(), doing, now) {
                Verdict::Keep => false,
                Verdict::Look(at) => {
                    look = look.min(at);
                    false
                }
                Verdict::Release => true,
            }
    };
    let count = if route.policy.ordered {
        // All of them are asked, so that it is known when to look again.
        let ready = route.ready.any(|job| goes(job, Doing::Queues));
        let lanes = route.lanes.any(|job| goes(job, Doing::Queues));
        let waits = held.any(|job, due| goes(job, Doing::Waits(due)));
        match ready || lanes || waits || route.lanes.rewinding() {
            true => give_back_all(route, held, now),
            false => 0,
        }
    } else {
        let ready = route.ready.take_out(|job| goes(job, Doing::Queues));
        let waits = held.give_back(now, |job, due| goes(job, Doing::Waits(due)));
        // Dropping them releases them.
        ready.len() + waits
    };
    tell(route, count);
    look
}

/// Everything of an ordered subscription that does not run. First nothing new may come, then what waits goes.
fn give_back_all(route: &Arc<Route>, held: &Held, now: Instant) -> usize {
    let ours = |job: &Job| Arc::ptr_eq(&job.route, route);
    let behind = route.rewind();
    let ready = route.ready.take_out(ours).len();
    behind + ready + held.give_back(now, |job, _| ours(job))
}
