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
use tokio_util::sync::CancellationToken;

use super::connection::Part;
use super::keys;
use super::ledger::Lane;
use super::subscription::Subscription;

/// What giving up a lease may take at most, at the end.
const GOODBYE: Duration = Duration::from_secs(2);

/// Registers, renews until `stop`, then says goodbye, so that others need not wait for the lease to run out.
pub(super) async fn keep(sub: Arc<Subscription>, part: Part, stop: CancellationToken) {
    loop {
        let wait = match renew(&sub).await {
            Ok(wait) => {
                part.well();
                wait
            }
            Err(error) => {
                part.trouble(&sub.control.error(&error).to_string());
                // Well before it runs out, yet no faster than the least back-off.
                (sub.options.lease / 6).max(sub.options.backoff.0)
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
            () = sub.doubt.notified() => {}
        }
    }
    if sub.registered.borrow().is_none() {
        return;
    }
    match tokio::time::timeout(GOODBYE, call(&sub, "close")).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "redis: lease not given up, it will run out"),
        Err(_) => tracing::warn!("redis: lease not given up in time, it will run out"),
    }
}

/// One registration or renewal; returns how long to wait for the next.
pub(super) async fn renew(sub: &Subscription) -> Result<Duration, RedisError> {
    let third = sub.options.lease / 3;
    let epoch = sub.ledger.lock().identity().epoch;
    let known = *sub.registered.borrow() == Some(epoch);
    if call(sub, if known { "renew" } else { "register" }).await? {
        if !known {
            sub.registered.send_replace(Some(epoch));
        }
        return Ok(third);
    }
    tracing::warn!(
        stream = sub.stream(Lane::Main),
        group = &*sub.group,
        "redis: taken over from, or the server was emptied; what is in hand is no longer ours"
    );
    let mut ledger = sub.ledger.lock();
    // The reader asks as well, when it finds the group gone: one loss is one rebirth.
    if ledger.identity().epoch == epoch {
        ledger.reborn(keys::consumer(&sub.options.host).into());
    }
    Ok(Duration::ZERO)
}

/// True: we are live. False: we no longer are.
async fn call(sub: &Subscription, verb: &str) -> Result<bool, RedisError> {
    let consumer = sub.ledger.lock().identity().consumer;
    let lease = sub.lease_key(&consumer);
    let mut cmd = sub.scripts.lease.call(&[
        &lease,
        &sub.hosts,
        sub.stream(Lane::Main),
        sub.stream(Lane::Retry),
    ]);
    cmd.arg(verb)
        .arg(&*consumer)
        .arg(u64::try_from(sub.options.lease.as_millis()).unwrap_or(u64::MAX))
        .arg(&*sub.group);
    let answer = sub.scripts.lease.run(&sub.control, &cmd).await?;
    Ok(answer == redis::Value::Int(1))
}
