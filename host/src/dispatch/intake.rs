//! Reads one subscription: makes room first, then fetches, then hands each message to its lane and its plugin.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::dispatch::lane::{Admitted, Lane, lane_of};
use crate::dispatch::route::{Job, Pause, Route};
use crate::dispatch::window::{Window, common_room};
use crate::ports::{Room, Source};

/// Wait after a fetch that failed for good reason, so that nothing spins.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Runs until `stop`. What was fetched is in hand or released by then.
pub(super) async fn run(
    route: Arc<Route>,
    mut source: Box<dyn Source>,
    host_window: Arc<Window>,
    stop: CancellationToken,
) {
    loop {
        let room = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            room = wait_for_turn(&route, &host_window) => room,
        };
        let fetched = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            fetched = source.fetch(room) => fetched,
        };
        match fetched {
            // They go back, uncharged, and before anything behind them is read.
            Ok(deliveries) if is_unwanted(&route) => {
                route.rewind();
                drop(deliveries);
            }
            Ok(deliveries) => take_in(&route, &host_window, deliveries),
            Err(error) => {
                tracing::error!(plugin = %route.spec.plugin, subscription = %route.spec.name, broker = %route.broker, %error, "cannot read");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(AFTER_ERROR) => {}
                }
            }
        }
    }
    source.stop().await;
}

/// Whether somebody asked for no more while a fetch was waiting. What cannot go back is handled all the same.
fn is_unwanted(route: &Route) -> bool {
    let halts = |why: &Pause| matches!(why, Pause::Asked | Pause::Halted);
    route.policy.capabilities.redelivers && route.pause.borrow().iter().any(halts)
}

/// Waits until the subscription may read: not paused, not rewinding, room in both windows.
async fn wait_for_turn(route: &Route, host_window: &Window) -> Room {
    let mut pause = route.pause.subscribe();
    loop {
        // Ask for the notice before looking, or a change between the two would be missed.
        let freed = route.window.freed();
        let host_freed = host_window.freed();
        tokio::pin!(freed, host_freed);
        freed.as_mut().enable();
        host_freed.as_mut().enable();
        if pause.borrow_and_update().is_empty() {
            if route.lanes.rewinding() {
                if route.inbox.outstanding() == 0 {
                    route.lanes.rewound();
                    continue;
                }
            } else if let Some(room) = common_room(&route.window, host_window) {
                return Room {
                    messages: room.messages.min(route.spec.prefetch),
                    ..room
                };
            }
        }
        tokio::select! {
            () = freed => {}
            () = host_freed => {}
            // The sender lives in the route itself, so this cannot end.
            _changed = pause.changed() => {}
        }
    }
}

/// Counts what was read and lets go what may run.
fn take_in(route: &Arc<Route>, host_window: &Window, deliveries: Vec<Delivery>) {
    let bytes = deliveries.iter().map(|d| d.message().size()).sum();
    route.window.take(deliveries.len(), bytes);
    host_window.take(deliveries.len(), bytes);
    route.metrics.consumed.inc_by(deliveries.len() as u64);
    route
        .metrics
        .in_flight
        .set(route.window.used().in_hand() as i64);
    let mut ready = Vec::with_capacity(deliveries.len());
    let turn = match route.policy.ordered {
        true => route.lanes.turn(),
        false => 0,
    };
    for mut delivery in deliveries {
        delivery.admit();
        let number = lane_of(delivery.message(), route.order);
        let job = Job {
            delivery,
            lane: number.map(|number| Lane { number, turn }),
            route: Arc::clone(route),
        };
        match number {
            None => ready.push(job),
            Some(number) => match route.lanes.admit(number, job) {
                Admitted::Run(job) => ready.push(job),
                Admitted::Waits => {}
                Admitted::Release(job) => drop(job),
            },
        }
    }
    route.ready.extend(ready);
}
