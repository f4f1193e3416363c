//! Both halves of a subscription to a stream: what hands messages over, and what settles them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::stream::{AT_ONCE, Subscription};
use crate::commit::Settlement;
use crate::delivery::{Delivery, Inbox};
use crate::ports::{BrokerError, Room, Settle, SettleError, Settler, Source};

pub(super) struct StreamSource {
    pub(super) sub: Arc<Subscription>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) stopped: CancellationToken,
    /// Ends the worker when source and settler are both gone.
    pub(super) _worker: Arc<DropGuard>,
}

impl StreamSource {
    fn take(&self, room: Room) -> Vec<Delivery> {
        let mut taken: Vec<Delivery> = Vec::new();
        let mut bytes = 0_usize;
        while taken.len() < room.messages {
            let first = taken.is_empty();
            let next = self.sub.next(|message| {
                bytes = bytes.saturating_add(message.size());
                first || bytes <= room.bytes
            });
            let Some(fetched) = next else { break };
            let delivery = Delivery::new(fetched.token, fetched.message, &self.inbox);
            taken.push(delivery);
        }
        if !taken.is_empty() {
            self.sub.taken.notify_one();
        }
        taken
    }
}

impl Source for StreamSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            loop {
                let taken = self.take(room);
                if !taken.is_empty() {
                    return Ok(taken);
                }
                self.sub.arrived.notified().await;
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.sub.stopping.cancel();
            self.stopped.cancelled().await;
            self.sub.leave().await;
        })
    }
}

pub(super) struct StreamSettler {
    pub(super) sub: Arc<Subscription>,
    pub(super) _worker: Arc<DropGuard>,
}

impl StreamSettler {
    async fn one(&self, settle: &Settle) -> Result<(), SettleError> {
        match settle.settlement {
            Settlement::Accept => self.sub.acknowledge(settle.token).await,
            Settlement::Release {
                after,
                attempts,
                first_failed_ms,
            } => {
                let token = settle.token;
                self.sub.park(token, after, attempts, first_failed_ms).await
            }
        }
    }
}

impl Settler for StreamSettler {
    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            let settled: Vec<_> = batch.iter().map(|settle| self.one(settle)).collect();
            stream::iter(settled).buffered(AT_ONCE).collect().await
        })
    }
}
