//! The half of a subscription that says what became of its messages.
//!
//! While reading, a settlement is a note in the tracker; the offset follows within a second, and a crash before that is
//! a repeat. Once reading has stopped, a settlement answers only when the commit that covers it is confirmed, so that
//! whoever waits for it knows.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::source::Membership;
use crate::ports::{Settle, SettleError, Settler};

pub(super) struct KafkaSettler {
    pub(super) member: Arc<Membership>,
}

impl Settler for KafkaSettler {
    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            let shared = &self.member.shared;
            let (results, upto) = {
                let mut control = shared.control.lock();
                let now = Instant::now();
                let results: Vec<_> = batch
                    .iter()
                    .map(|one| control.settle(one.token, one.settlement, now))
                    .collect();
                (results, control.settled())
            };
            shared.changed.notify_one();
            loop {
                // Asked for before looking, or the end of a flush in between would be missed.
                let flushed = shared.flushed.notified();
                tokio::pin!(flushed);
                flushed.as_mut().enable();
                if shared.control.lock().is_flushed(upto) {
                    break;
                }
                flushed.await;
            }
            let gone = || {
                let reason = "another member of the group has the partition, or it began anew";
                SettleError::Fenced(reason.into())
            };
            results.into_iter().map(|r| r.map_err(|_| gone())).collect()
        })
    }
}
