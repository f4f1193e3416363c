//! Takes what is there, when the source asks for it, and waits where there is nothing.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Queue;
use crate::broker::redis::connection::{Backoff, Endpoint, Part, breaks};
use crate::broker::redis::subscription::Fetched;
use crate::broker::redis::{durability, lease};
use crate::ports::{BrokerError, Room};

/// The first wait after something was there.
const SOON: Duration = Duration::from_millis(1);
/// How often what the server says we hold is compared with what is in hand.
const SWEEP: Duration = Duration::from_secs(5);

pub(super) struct Reader {
    pub(super) queue: Arc<Queue>,
    pub(super) part: Part,
    /// How much the source has room for. Nothing is taken unasked.
    pub(super) asks: mpsc::Receiver<Room>,
    pub(super) fresh: mpsc::Sender<Result<Vec<Fetched>, BrokerError>>,
    /// Most time between two looks.
    pub(super) most: Duration,
}

impl Reader {
    /// Runs until dropped, or until the source is gone.
    pub(super) async fn run(mut self) {
        if self.queue.own {
            durability::warn(&self.queue.control).await;
        }
        let mut sweep = Instant::now() + SWEEP;
        while let Some(room) = self.asks.recv().await {
            let answer = self.until_there(room, &mut sweep).await;
            if self.fresh.send(answer).await.is_err() {
                return;
            }
        }
    }

    async fn until_there(
        &self,
        room: Room,
        sweep: &mut Instant,
    ) -> Result<Vec<Fetched>, BrokerError> {
        let queue = &*self.queue;
        let (min, max) = queue.options.backoff;
        let mut backoff = Backoff::new(min, max);
        let mut wait = SOON;
        // An answer may have been lost: what it brought is ours at the server and nobody has it.
        let mut doubt = false;
        loop {
            let me = queue.identity().await;
            let taken = async {
                if doubt {
                    queue.orphans(&me, Duration::ZERO).await?;
                } else if *sweep <= Instant::now() {
                    let idle = queue.options.answer + Duration::from_secs(1);
                    queue.orphans(&me, idle).await?;
                    *sweep = Instant::now() + SWEEP;
                }
                queue.take(&me, room).await
            };
            match taken.await {
                Ok(Some(taken)) => {
                    doubt = false;
                    backoff.reset();
                    self.part.well();
                    if !taken.fetched.is_empty() {
                        return Ok(taken.fetched);
                    }
                    self.wait(wait, taken.due).await;
                    wait = (wait * 2).min(self.most);
                }
                Ok(None) => self.lost().await,
                Err(error) => {
                    doubt |= breaks(&error);
                    let told = queue.reads.error(&error);
                    self.part.trouble(&told.to_string());
                    backoff.wait().await;
                    if matches!(told, BrokerError::Refused(_)) {
                        return Err(told);
                    }
                }
            }
        }
    }

    /// Waits until something may be there.
    async fn wait(&self, wait: Duration, due: Option<Duration>) {
        let wait = match self.waits() {
            true => self.most,
            false => wait,
        };
        self.queue.idle.notify_one();
        tokio::select! {
            () = self.queue.wake.notified() => {}
            () = tokio::time::sleep(due.map_or(wait, |due| due.min(wait)).max(SOON)) => {}
        }
    }

    /// Whether somebody wakes us when something comes.
    fn waits(&self) -> bool {
        self.queue.own && self.queue.kind == super::Kind::List
    }

    /// The server knows us no more: it was emptied, or somebody took over from us.
    async fn lost(&self) {
        if let Err(error) = lease::renew(&*self.queue).await {
            tracing::debug!(%error, "redis: registration not asked for, the lease's task will");
        }
        self.queue.doubt.notify_one();
    }
}

/// Waits at a list for the reader, on a connection of its own, since a blocked command blocks everything behind it.
///
/// Whatever it is told it takes nothing: the item at the right end is moved from there to there. So nothing is lost where
/// its answer is, and every other client sees the list as it was.
pub(super) struct Waiter {
    pub(super) queue: Arc<Queue>,
    pub(super) endpoint: Endpoint,
    pub(super) part: Part,
}

impl Waiter {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let (min, max) = self.queue.options.backoff;
        let mut backoff = Backoff::new(min, max);
        let mut line = None;
        loop {
            self.queue.idle.notified().await;
            let waited = async {
                let line = match &mut line {
                    Some(line) => line,
                    None => line.insert(self.endpoint.connect(self.queue.options.block).await?),
                };
                let place = &*self.queue.keys.place;
                let mut cmd = redis::cmd("BLMOVE");
                cmd.arg(place).arg(place).arg("RIGHT").arg("RIGHT");
                cmd.arg(self.queue.options.block.as_secs_f64());
                cmd.query_async::<Value>(line).await
            };
            match waited.await {
                Ok(answer) => {
                    backoff.reset();
                    self.part.well();
                    if answer != Value::Nil {
                        self.queue.wake.notify_one();
                    }
                }
                Err(error) => {
                    line = None;
                    // Of a cluster, where the place is now is asked for anew.
                    let _left = self.endpoint.leaves(&error);
                    let told = self.queue.reads.error(&error);
                    self.part.trouble(&told.to_string());
                    backoff.wait().await;
                }
            }
        }
    }
}
