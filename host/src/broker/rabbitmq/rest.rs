//! Standing still. While the host fetches nothing (it is paused, or busy), the server's patience with what was read ahead
//! runs out too. What has waited for half of it is given back, and nothing more is read until a fetch waits: so a host that
//! stands still does not pass its backlog through its own queue, and keeps no queue from other hosts.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::consumers::Consumers;
use super::parking::{as_it_was, park_and_acknowledge};
use super::subscription::{Live, Subscription};
use crate::delivery::Token;
use crate::ports::{SettleError, look_every};

/// When to look at what was read ahead.
pub(super) fn looks(waits: Duration) -> Interval {
    let mut looks = tokio::time::interval(look_every(waits));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

impl Subscription {
    /// Gives back what was read ahead and has waited for too long, and reads no more.
    pub(super) async fn look(&self, live: &Live, consumers: &mut Consumers) -> lapin::Result<()> {
        let unwanted = self.unwanted(Instant::now());
        if unwanted.is_empty() {
            return Ok(());
        }
        let count = unwanted.len();
        tracing::info!(queue = %self.queue, count, "rabbitmq: given back: read ahead, and nobody fetches it");
        if self.ordered {
            // All of it, once what was handed over has ended.
            self.rewind();
            self.ended(std::iter::empty());
            return Ok(());
        }
        consumers.rest(live).await?;
        let tokens: Vec<Token> = unwanted.iter().map(|(token, _)| *token).collect();
        let batch = unwanted
            .into_iter()
            .map(|(token, held)| (token, as_it_was(self, held)));
        let results = park_and_acknowledge(self, live, batch.collect()).await;
        let left = tokens.into_iter().zip(results);
        let left = left.filter(|(_, r)| matches!(r, Err(SettleError::Unavailable(_))));
        self.still_here(left.map(|(token, _)| token));
        Ok(())
    }
}
