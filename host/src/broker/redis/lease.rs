//! The host lease: a key that lives as long as we do.
//!
//! Others claim the entries of *dead owners*, not of slow ones: they look for the key, not for idle messages. It is
//! renewed at a third of its time by a task of its own, which runs no guest and waits for no message.
//!
//! What fences is not the key running out but somebody taking over: that flips our entry in the registry from `live`
//! to `fenced` in the same step that saw the key missing. So a server that was away for longer than the lease costs
//! nothing when nobody took over, and a host that was taken over from is refused however lively it is by now. It then
//! takes a new name, and everything it had in hand is no longer its own.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Options;
use super::connection::{Link, Part};
use super::keys;
use super::ledger::Lane;
use super::subscription::Subscription;

/// What giving up a lease may take at most, at the end.
const GOODBYE: Duration = Duration::from_secs(2);

/// What has a host lease: whatever reads in a way that others can take over.
pub(super) trait Leased: Send + Sync + 'static {
    fn options(&self) -> &Options;

    /// The connection for leases and recovery.
    fn control(&self) -> &Link;

    /// The epoch the server knows us by.
    fn registered(&self) -> &watch::Sender<Option<u32>>;

    /// Somebody was told that we are fenced.
    fn doubt(&self) -> &Notify;

    /// The epoch of our present name.
    fn epoch(&self) -> u32;

    /// Takes a new name, if the present one is still of this epoch.
    fn reborn(&self, epoch: u32);

    /// What is read, for the log.
    fn place(&self) -> &str;

    /// `register`, `renew` or `close` at the server. True: we are live. False: we no longer are.
    fn call(&self, verb: &str) -> impl Future<Output = Result<bool, RedisError>> + Send;
}

/// Registers, renews until `stop`, then says goodbye, so that others need not wait for the lease to run out.
pub(super) async fn keep(sub: Arc<impl Leased>, part: Part, stop: CancellationToken) {
    loop {
        let wait = match renew(&*sub).await {
            Ok(wait) => {
                part.well();
                wait
            }
            Err(error) => {
                part.trouble(&sub.control().error(&error).to_string());
                // Well before it runs out, yet no faster than the least back-off.
                (sub.options().lease / 6).max(sub.options().backoff.0)
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
            () = sub.doubt().notified() => {}
        }
    }
    if sub.registered().borrow().is_none() {
        return;
    }
    match tokio::time::timeout(GOODBYE, sub.call("close")).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "redis: lease not given up, it will run out"),
        Err(_) => tracing::warn!("redis: lease not given up in time, it will run out"),
    }
}

/// One registration or renewal; returns how long to wait for the next.
pub(super) async fn renew(sub: &impl Leased) -> Result<Duration, RedisError> {
    let third = sub.options().lease / 3;
    let epoch = sub.epoch();
    let known = *sub.registered().borrow() == Some(epoch);
    if sub.call(if known { "renew" } else { "register" }).await? {
        if !known {
            sub.registered().send_replace(Some(epoch));
        }
        return Ok(third);
    }
    tracing::warn!(
        place = sub.place(),
        "redis: taken over from, or the server was emptied; what is in hand is no longer ours"
    );
    // Whoever reads asks as well, when it finds that all is gone: one loss is one rebirth.
    sub.reborn(epoch);
    Ok(Duration::ZERO)
}

impl Leased for Subscription {
    fn options(&self) -> &Options {
        &self.options
    }

    fn control(&self) -> &Link {
        &self.control
    }

    fn registered(&self) -> &watch::Sender<Option<u32>> {
        &self.registered
    }

    fn doubt(&self) -> &Notify {
        &self.doubt
    }

    fn epoch(&self) -> u32 {
        self.ledger.lock().identity().epoch
    }

    fn reborn(&self, epoch: u32) {
        let mut ledger = self.ledger.lock();
        if ledger.identity().epoch == epoch {
            ledger.reborn(keys::consumer(&self.options.host).into());
        }
    }

    fn place(&self) -> &str {
        self.stream(Lane::Main)
    }

    async fn call(&self, verb: &str) -> Result<bool, RedisError> {
        let consumer = self.ledger.lock().identity().consumer;
        let lease = self.lease_key(&consumer);
        let mut cmd = self.scripts.lease.call(&[
            &lease,
            &self.hosts,
            self.stream(Lane::Main),
            self.stream(Lane::Retry),
        ]);
        cmd.arg(verb)
            .arg(&*consumer)
            .arg(u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX))
            .arg(&*self.group);
        let answer = self.scripts.lease.run(&self.control, &cmd).await?;
        Ok(answer == redis::Value::Int(1))
    }
}
