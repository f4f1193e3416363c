//! Stopping: fetch no more, finish what is in hand, release the rest, confirm every settlement.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::dispatch::Dispatcher;

/// The end of the drain deadline is kept for flushing, at most this much of it and at most a fifth.
const FLUSH: Duration = Duration::from_secs(5);

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Messages whose settlement could not be confirmed. They will be delivered again.
    pub unsettled: usize,
}

impl Drained {
    /// Whether the process may exit 0.
    pub fn clean(&self) -> bool {
        self.unsettled == 0
    }
}

impl Dispatcher {
    /// Stops everything within `limit`. Messages that do not finish in time are released.
    pub async fn drain(&self, limit: Duration) -> Drained {
        let deadline = Instant::now() + limit;
        let finish_by = deadline - FLUSH.min(limit / 5);
        let parts = std::mem::take(&mut *self.parts.lock());
        self.stop.cancel();
        for intake in parts.intakes {
            // An intake ends at once; one that panicked has dropped what it had, which releases it.
            let _joined = timeout_at(finish_by, intake).await;
        }
        // What waits for a retry would only wait: give it back now, and what is behind it in its lane too.
        for crew in &parts.crews {
            crew.held.close();
        }
        for route in &parts.routes {
            route.lanes.clear();
        }
        self.ends.finish.cancel();
        let committers = join_all(parts.committers);
        tokio::pin!(committers);
        let finished = match timeout_at(finish_by, &mut committers).await {
            Ok(finished) => finished,
            Err(_late) => {
                // Time to let go: what runs is abandoned, what cannot be published is released.
                for crew in &parts.crews {
                    crew.ready.close();
                }
                for worker in &parts.workers {
                    worker.abort();
                }
                self.ends.let_go.cancel();
                match timeout_at(deadline, &mut committers).await {
                    Ok(finished) => finished,
                    Err(_late) => {
                        self.ends.give_up.cancel();
                        committers.await
                    }
                }
            }
        };
        for crew in &parts.crews {
            crew.ready.close();
        }
        for worker in &parts.workers {
            worker.abort();
        }
        let unsettled = finished.into_iter().map(|joined| match joined {
            Ok(flushed) => flushed.unsettled,
            Err(error) => {
                tracing::error!(%error, "a committer ended badly");
                1
            }
        });
        Drained {
            unsettled: unsettled.sum(),
        }
    }
}
