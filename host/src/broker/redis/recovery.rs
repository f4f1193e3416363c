//! Everything that is read a second time: entries of dead hosts, released ones when they are due, and orphans.
//!
//! One task per subscription, on the control connection, so that a blocking read for new entries never delays it. What
//! it reads goes to the source by a channel of its own, which the source empties first. It never uses a history read
//! (`XREADGROUP … 0`): that raises the delivery counter of whatever it shows, and the counter is kept for crashes. Ids
//! come from XPENDING, entries by `load.lua`, which looks at ownership in the same step.
//!
//! Bounded by: two batches of [`BATCH`] in the channel, and [`PARKED`] ids in the ledger; beyond that dead hosts'
//! entries stay where they are, pending at the server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, Value};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::connection::{Backoff, Part};
use super::entry::{self, EntryId, Raw};
use super::keys::CONSUMER_PREFIX;
use super::ledger::{Identity, Lane, Place};
use super::subscription::{Fetched, Subscription};
use super::wire::Kept;

/// Entries read or claimed in one script: some tenths of a millisecond of the server's time.
const BATCH: usize = 100;
/// Bytes read in one script, as far as can be told beforehand.
const BYTES: usize = 8 << 20;
/// Claims between two rounds of delivery.
const CLAIMS: usize = 20;
/// Ids kept in memory; what a host releases itself comes on top.
const PARKED: usize = 50_000;
/// How often pending entries are compared with what is in hand.
const SWEEP: Duration = Duration::from_secs(5);

/// A request to look for orphans now, answered when they are parked.
pub(super) type Reconcile = oneshot::Sender<()>;

pub(super) struct Recovery {
    pub(super) sub: Arc<Subscription>,
    /// To the source. Room for two batches; recovery waits while it is full.
    pub(super) again: mpsc::Sender<Vec<Fetched>>,
    /// From the reader, after it lost a connection. It waits for the answer, so room for one is enough.
    pub(super) orders: mpsc::Receiver<Reconcile>,
    /// Turned true when what dead hosts had left at our start is handed over: only then is anything new read.
    pub(super) caught_up: watch::Sender<bool>,
    /// Where it says what keeps it from working: until the first look nothing is read at all.
    pub(super) part: Part,
}

impl Recovery {
    /// Runs until dropped, or until the source is gone.
    pub(super) async fn run(mut self) {
        let (min, max) = self.sub.options.backoff;
        let mut backoff = Backoff::new(min, max);
        let mut look = Instant::now();
        let mut sweep = Instant::now() + SWEEP;
        loop {
            let identity = self.sub.identity().await;
            let round = self.round(&identity, &mut look, &mut sweep).await;
            match round {
                Ok(true) => {
                    backoff.reset();
                    self.part.well();
                }
                Ok(false) => return,
                Err(error) => {
                    self.part
                        .trouble(&self.sub.control.error(&error).to_string());
                    backoff.wait().await;
                    continue;
                }
            }
            let due = self.sub.ledger.lock().next_due();
            let wake = due.map_or(look, |due| due.min(look)).min(sweep);
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                () = self.sub.parked.notified() => {}
                order = self.orders.recv() => match order {
                    None => return,
                    Some(done) => self.reconcile(done).await,
                }
            }
        }
    }

    /// What is due. False when nobody reads any more.
    async fn round(
        &self,
        identity: &Identity,
        look: &mut Instant,
        sweep: &mut Instant,
    ) -> Result<bool, RedisError> {
        let mut more = false;
        if *look <= Instant::now() {
            more = self.look(identity).await?;
            *look = Instant::now();
            if !more {
                *look += self.sub.look_every();
            }
        }
        if *sweep <= Instant::now() {
            let idle = self.sub.options.block + self.sub.options.answer + Duration::from_secs(1);
            self.orphans(identity, idle).await?;
            *sweep = Instant::now() + SWEEP;
        }
        if !self.deliver(identity).await? {
            return Ok(false);
        }
        if !more {
            self.caught_up.send_replace(true);
        }
        Ok(true)
    }

    async fn reconcile(&self, done: Reconcile) {
        let identity = self.sub.identity().await;
        match self.orphans(&identity, Duration::ZERO).await {
            // The reader may be gone by now.
            Ok(()) => drop(done.send(())),
            // Not answered: the reader asks again.
            Err(error) => tracing::debug!(%error, "redis: pending entries not compared"),
        }
    }

    /// Looks for dead owners and claims what they left. True when there is more to claim at once.
    async fn look(&self, me: &Identity) -> Result<bool, RedisError> {
        self.look_for_retry_stream().await?;
        let (dead, foreign) = self.owners(me).await?;
        let mut claims = 0;
        for owner in &dead {
            for lane in self.sub.lanes() {
                loop {
                    if claims >= CLAIMS {
                        return Ok(true);
                    }
                    if self.sub.ledger.lock().parked() >= PARKED {
                        return Ok(false);
                    }
                    claims += 1;
                    if !self.claim(*lane, owner, me, None).await? {
                        break;
                    }
                }
            }
            self.forget(owner).await?;
        }
        if let Some(idle) = self.sub.options.foreign_idle {
            for owner in &foreign {
                for lane in self.sub.lanes() {
                    self.claim(*lane, owner, me, Some(idle)).await?;
                }
            }
        }
        Ok(false)
    }

    /// Redriven dead letters are read from when there first are some.
    async fn look_for_retry_stream(&self) -> Result<(), RedisError> {
        if self.sub.lanes().contains(&Lane::Retry) {
            return Ok(());
        }
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.sub.stream(Lane::Retry));
        if self.sub.control.query(&exists).await? == Value::Int(1) {
            self.sub
                .create_group(&self.sub.control, Lane::Retry, "0")
                .await?;
            self.sub.open_retry();
        }
        Ok(())
    }

    /// Our kind of consumers whose lease is gone, and foreign ones.
    async fn owners(&self, me: &Identity) -> Result<(Vec<String>, Vec<String>), RedisError> {
        let mut names = BTreeSet::new();
        for lane in self.sub.lanes() {
            names.extend(self.sub.consumers(*lane).await?);
        }
        let mut registry = redis::cmd("HKEYS");
        registry.arg(&self.sub.hosts);
        let registered = self.sub.control.query(&registry).await?;
        names.extend(
            entry::items(registered)
                .unwrap_or_default()
                .into_iter()
                .filter_map(entry::text),
        );
        names.remove(&*me.consumer);
        let (ours, foreign): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| name.starts_with(CONSUMER_PREFIX));
        if ours.is_empty() {
            return Ok((ours, foreign));
        }
        let mut leases = redis::pipe();
        for name in &ours {
            leases.cmd("EXISTS").arg(self.sub.lease_key(name));
        }
        let alive = self.sub.control.pipeline(&leases).await?;
        let dead = ours
            .into_iter()
            .zip(alive)
            .filter(|(_, alive)| *alive == Value::Int(0))
            .map(|(name, _)| name)
            .collect();
        Ok((dead, foreign))
    }

    /// Claims one batch. True when there may be more.
    async fn claim(
        &self,
        lane: Lane,
        owner: &str,
        me: &Identity,
        idle: Option<Duration>,
    ) -> Result<bool, RedisError> {
        let lease = self.sub.lease_key(owner);
        let script = &self.sub.scripts.take;
        let mut cmd = script.call(&[
            self.sub.stream(lane),
            &self.sub.hosts,
            self.sub.attempts(lane),
            &lease,
        ]);
        cmd.arg(&*self.sub.group)
            .arg(owner)
            .arg(&*me.consumer)
            .arg(BATCH);
        match idle {
            None => cmd.arg(""),
            Some(idle) => cmd.arg(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)),
        };
        let rows = match script.run(&self.sub.control, &cmd).await? {
            Value::Array(rows) => rows,
            Value::SimpleString(status) => {
                if status == "LOST" {
                    self.sub.doubt.notify_one();
                }
                return Ok(false);
            }
            _ => return Ok(false),
        };
        let full = rows.len() == BATCH;
        let taken: Vec<(EntryId, i64)> = rows.into_iter().filter_map(taken).collect();
        let trimmed = taken.iter().filter(|(_, wait)| *wait < 0).count();
        self.sub.trimmed(lane, trimmed);
        if !taken.is_empty() {
            tracing::info!(
                owner,
                count = taken.len(),
                "redis: took over pending entries"
            );
        }
        let now = Instant::now();
        let mut ledger = self.sub.ledger.lock();
        for (id, wait) in taken {
            if let Ok(wait) = u64::try_from(wait) {
                ledger.park(
                    Place { lane, id },
                    me.epoch,
                    now + Duration::from_millis(wait),
                );
            }
        }
        Ok(full)
    }

    async fn forget(&self, owner: &str) -> Result<(), RedisError> {
        let lease = self.sub.lease_key(owner);
        let script = &self.sub.scripts.forget;
        let mut cmd = script.call(&[
            &lease,
            &self.sub.hosts,
            self.sub.stream(Lane::Main),
            self.sub.stream(Lane::Retry),
        ]);
        cmd.arg(&*self.sub.group).arg(owner);
        script.run(&self.sub.control, &cmd).await.map(drop)
    }

    /// Parks what is pending under our name and in nobody's hands: its delivery was lost with a connection. `idle`
    /// leaves out what may still be on its way to us.
    async fn orphans(&self, me: &Identity, idle: Duration) -> Result<(), RedisError> {
        for lane in self.sub.lanes() {
            let mut from = "-".to_owned();
            loop {
                let mut cmd = redis::cmd("XPENDING");
                cmd.arg(self.sub.stream(*lane)).arg(&*self.sub.group);
                if !idle.is_zero() {
                    cmd.arg("IDLE")
                        .arg(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
                }
                cmd.arg(&from).arg("+").arg(BATCH * 10).arg(&*me.consumer);
                let rows = match self.sub.control.query(&cmd).await {
                    Ok(value) => entry::items(value).unwrap_or_default(),
                    Err(e) if e.code() == Some("NOGROUP") => break,
                    Err(e) => return Err(e),
                };
                let full = rows.len() == BATCH * 10;
                let places: Vec<Place> = rows
                    .into_iter()
                    .filter_map(|row| {
                        let id = entry::bytes(entry::items(row)?.into_iter().next()?)?;
                        Some(Place {
                            lane: *lane,
                            id: EntryId::parse(&id)?,
                        })
                    })
                    .collect();
                let now = Instant::now();
                {
                    let mut ledger = self.sub.ledger.lock();
                    for place in ledger.orphans(&places) {
                        ledger.park(place, me.epoch, now);
                    }
                }
                match places.last() {
                    Some(last) if full => from = format!("({}", last.id),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Reads what is due and hands it over. False when nobody reads any more.
    async fn deliver(&self, me: &Identity) -> Result<bool, RedisError> {
        loop {
            let most = self.sub.sizes.how_many(BATCH, BYTES);
            let places = self.sub.ledger.lock().take_due(Instant::now(), most);
            let Some(first) = places.first() else {
                return Ok(true);
            };
            let loaded = match self.load(first.lane, &places, me).await {
                Ok(loaded) => loaded,
                Err(e) => {
                    self.sub
                        .ledger
                        .lock()
                        .put_back(&places, me.epoch, Instant::now());
                    return Err(e);
                }
            };
            if !loaded.is_empty() && self.again.send(loaded).await.is_err() {
                return Ok(false);
            }
        }
    }

    async fn load(
        &self,
        lane: Lane,
        places: &[Place],
        me: &Identity,
    ) -> Result<Vec<Fetched>, RedisError> {
        let script = &self.sub.scripts.load;
        let mut cmd = script.call(&[self.sub.stream(lane), self.sub.attempts(lane)]);
        cmd.arg(&*self.sub.group).arg(&*me.consumer);
        for place in places {
            cmd.arg(place.id.to_string());
        }
        let answer = script.run(&self.sub.control, &cmd).await?;
        let mut loaded = Vec::with_capacity(places.len());
        let mut trimmed = 0;
        let mut ledger = self.sub.ledger.lock();
        for (place, row) in places.iter().zip(entry::items(answer).unwrap_or_default()) {
            trimmed += usize::from(row == Value::Int(1));
            if let Some((kept, recorded, raw)) = found(place.id, row)
                && let Some(token) = ledger.hold(*place, me.epoch, recorded)
            {
                let message = self.sub.read(lane, raw, kept);
                loaded.push(Fetched { token, message });
            }
            ledger.unpark(*place);
        }
        drop(ledger);
        self.sub.trimmed(lane, trimmed);
        Ok(loaded)
    }
}

/// A row of `take.lua`: the entry and how many milliseconds until it is due, below zero where it is no more.
fn taken(row: Value) -> Option<(EntryId, i64)> {
    let mut row = entry::items(row)?.into_iter();
    let id = EntryId::parse(&entry::bytes(row.next()?)?)?;
    let wait = entry::int(&row.nth(1)?)?;
    Some((id, wait))
}

/// A row of `load.lua`: what is kept of the entry, whether there is a record of it, and the entry.
fn found(id: EntryId, row: Value) -> Option<(Kept, bool, Raw)> {
    let mut row = entry::items(row)?.into_iter();
    let deliveries = entry::int(&row.next()?)?;
    let record = entry::text(row.next()?)?;
    let fields = entry::fields(row.next()?)?;
    let (attempts, first_failed_ms) = kept(&record);
    let kept = Kept {
        attempts,
        first_failed_ms,
        deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
    };
    Some((kept, !record.is_empty(), Raw { id, fields }))
}

/// The attempts of a record and when the first of them failed: `2@1700000000000 <due>`, or `0 <due>`.
fn kept(record: &str) -> (u32, Option<u64>) {
    let word = record.split(' ').next().unwrap_or_default();
    let (attempts, first) = word.split_once('@').unwrap_or((word, ""));
    (attempts.parse().unwrap_or(0), first.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn reads_what_the_scripts_answer() {
        let row = Value::Array(vec![bulk("5-1"), Value::Int(3), Value::Int(250)]);
        assert_eq!(taken(row), Some((EntryId { ms: 5, seq: 1 }, 250)));
        let id = EntryId { ms: 5, seq: 1 };
        let row = Value::Array(vec![
            Value::Int(3),
            bulk("2@1699999999000 1700000000000"),
            Value::Array(vec![bulk("a"), bulk("b")]),
        ]);
        let (kept, recorded, raw) = found(id, row).unwrap();
        assert_eq!((kept.attempts, kept.deliveries, recorded), (2, 3, true));
        assert_eq!(kept.first_failed_ms, Some(1_699_999_999_000));
        assert_eq!(raw.fields.len(), 1);
        assert_eq!(super::kept("0 1700000000000"), (0, None));
        assert_eq!(super::kept(""), (0, None));
        assert!(found(id, Value::Int(0)).is_none(), "no longer ours");
        assert!(found(id, Value::Int(1)).is_none(), "trimmed");
    }
}
