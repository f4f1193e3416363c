//! Stopping: fetch no more, finish what is in hand, release the rest, confirm every settlement.

use std::time::Duration;

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
        // What waits for a retry would only wait: give it back now.
        for crew in &parts.crews {
            crew.held.close();
        }
        let idle = async {
            for route in &parts.routes {
                loop {
                    let freed = route.window.freed();
                    tokio::pin!(freed);
                    freed.as_mut().enable();
                    if route.window.used().in_hand() == 0 {
                        break;
                    }
                    freed.await;
                }
            }
        };
        let _in_time = timeout_at(finish_by, idle).await;
        for crew in &parts.crews {
            crew.ready.close();
        }
        for route in &parts.routes {
            route.lanes.clear();
        }
        for worker in &parts.workers {
            worker.abort();
        }
        let mut unsettled = 0;
        let give_up = self.give_up.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            give_up.cancel();
        });
        for committer in parts.committers {
            match committer.await {
                Ok(flushed) => unsettled += flushed.unsettled,
                Err(error) => {
                    tracing::error!(%error, "a committer ended badly");
                    unsettled += 1;
                }
            }
        }
        timer.abort();
        Drained { unsettled }
    }
}
