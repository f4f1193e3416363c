//! Gives back what dead hosts had in hand, as soon as their lease is over.
//!
//! Whose lease is over is asked of the server a few times per lease. What they had is then nobody's, so whoever has room
//! takes it.

use std::sync::Arc;

use redis::{RedisError, Value};

use super::Queue;
use crate::broker::redis::connection::{Backoff, Part};
use crate::broker::redis::entry;
use crate::broker::redis::ledger::Identity;

/// Items given back in one script.
const BATCH: usize = 500;

pub(super) struct Recovery {
    pub(super) queue: Arc<Queue>,
    pub(super) part: Part,
}

impl Recovery {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let (min, max) = self.queue.options.backoff;
        let mut backoff = Backoff::new(min, max);
        loop {
            let me = self.queue.identity().await;
            match self.look(&me).await {
                Ok(()) => {
                    backoff.reset();
                    self.part.well();
                    tokio::time::sleep(self.queue.options.lease / 4).await;
                }
                Err(error) => {
                    self.part
                        .trouble(&self.queue.control.error(&error).to_string());
                    backoff.wait().await;
                }
            }
        }
    }

    async fn look(&self, me: &Identity) -> Result<(), RedisError> {
        let queue = &*self.queue;
        let mut hosts = redis::cmd("HKEYS");
        hosts.arg(&queue.keys.hosts);
        let hosts = entry::items(queue.control.query(&hosts).await?).unwrap_or_default();
        let others = hosts.into_iter().filter_map(entry::text);
        let others: Vec<String> = others.filter(|host| **host != *me.consumer).collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut leases = redis::pipe();
        for host in &others {
            leases.cmd("EXISTS").arg(queue.keys.lease(host));
        }
        let alive = queue.control.pipeline(&leases).await?;
        for (host, alive) in others.iter().zip(alive) {
            if alive == Value::Int(0) {
                self.take_over(host, me).await?;
            }
        }
        Ok(())
    }

    async fn take_over(&self, dead: &str, me: &Identity) -> Result<(), RedisError> {
        let queue = &*self.queue;
        let script = &queue.scripts.queue.recover;
        loop {
            let mut cmd = script.call(&[
                &queue.keys.lease(dead),
                &queue.keys.hosts,
                &queue.keys.held(dead),
                &queue.keys.due,
                &queue.keys.kept,
            ]);
            cmd.arg(&*me.consumer).arg(dead).arg(BATCH);
            let count = match script.run(&queue.control, &cmd).await? {
                Value::Int(count) => usize::try_from(count).unwrap_or(0),
                Value::SimpleString(status) => {
                    if status == "LOST" {
                        queue.doubt.notify_one();
                    }
                    return Ok(());
                }
                _ => return Ok(()),
            };
            if count > 0 {
                tracing::info!(
                    place = queue.keys.place,
                    owner = dead,
                    count,
                    "redis: took over what a dead host had in hand"
                );
                queue.wake.notify_one();
            }
            if count < BATCH {
                return Ok(());
            }
        }
    }
}
