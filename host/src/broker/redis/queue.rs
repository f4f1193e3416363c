//! Lists and sorted sets: what is taken from them is leased, never popped.
//!
//! One step at the server moves an item from its place to what is kept beside it ([`Keys`]), under the name of the host that
//! takes it. It is settled, given back or taken over from there; a retry waits there too, and is nobody's meanwhile, so
//! any host may take it when it is due. An item is known by an id that is made when it is first taken, so two of the same
//! bytes are two items, and it has that id at every delivery.
//!
//! A list is read from its right end, so `LPUSH` puts behind and `RPUSH` before. Of a sorted set the highest score comes
//! first. A subscription is two queues: its own place, and the list that its dead letters are redriven to.
//!
//! What will surprise you:
//! - There are no groups: whoever reads a list takes from all others who do.
//! - A script cannot wait. For a list the `Waiter` waits beside it, by moving the last item to where it is; a sorted set
//!   can only be asked again, at most every [`ASK`].
//! - What is in hand is not in the list. A client that looks there sees what is waiting, nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::Mutex;
use redis::{RedisError, Value};
use tokio::sync::{Notify, watch};

use super::connection::Link;
use super::entry;
use super::envelope::{self, Known, Reading};
use super::lease::Leased;
use super::ledger::Identity;
use super::script::{self, Script};
use super::subscription::Fetched;
use super::{Options, keys as names};
use crate::ports::Room;

mod keys;
mod ledger;
mod open;
mod reader;
mod record;
mod recovery;
mod settler;
mod source;

pub(super) use keys::Keys;
use ledger::Ledger;
use record::Record;
pub(super) use settler::QueueSettler;
pub(super) use source::QueueSource;

/// Most time between two looks at a sorted set that was empty.
const ASK: Duration = Duration::from_millis(50);

/// The scripts for lists and sorted sets.
pub(super) struct Scripts {
    take: Script,
    settle: Script,
    lease: Script,
    recover: Script,
    giveback: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            take: Script::new(include_str!("queue/take.lua")),
            settle: Script::new(concat!(
                include_str!("outputs.lua"),
                include_str!("queue/settle.lua")
            )),
            lease: Script::new(include_str!("queue/lease.lua")),
            recover: Script::new(include_str!("queue/recover.lua")),
            giveback: Script::new(include_str!("queue/giveback.lua")),
        }
    }
}

/// What a place is to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    SortedSet,
}

impl Kind {
    /// The word the scripts have for it.
    fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::SortedSet => "zset",
        }
    }
}

/// What the parts of one open queue share.
struct Queue {
    options: Arc<Options>,
    scripts: Arc<script::Scripts>,
    kind: Kind,
    /// The subscription's own place, not the list for what is redriven.
    own: bool,
    keys: Keys,
    reading: Reading,
    /// Takes; a connection of its own, so that large messages delay no settlement.
    reads: Link,
    /// Settlements and outputs. Shared with the broker's publisher.
    data: Arc<Link>,
    /// Leases and recovery.
    control: Arc<Link>,
    /// See [`Ledger`] on how long it is held.
    ledger: Mutex<Ledger>,
    /// The epoch the server knows us by; `None` until registered.
    registered: watch::Sender<Option<u32>>,
    /// Wakes the lease's task: somebody was told we are fenced.
    doubt: Notify,
    /// Wakes the reader: something may be there. A permit is stored, so none is missed.
    wake: Notify,
    /// Wakes the waiter: the reader found nothing.
    idle: Notify,
}

/// What one script took.
struct Taken {
    fetched: Vec<Fetched>,
    /// How long until something released is due.
    due: Option<Duration>,
}

impl Queue {
    /// Waits until the server knows us by our present name.
    async fn identity(&self) -> Identity {
        let mut registered = self.registered.subscribe();
        loop {
            let known = *registered.borrow_and_update();
            let identity = self.ledger.lock().identity();
            if known == Some(identity.epoch) {
                return identity;
            }
            if registered.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes what there is room for. `None`: we are no longer who we were.
    async fn take(&self, me: &Identity, room: Room) -> Result<Option<Taken>, RedisError> {
        let script = &self.scripts.queue.take;
        let keys = &self.keys;
        let held = keys.held(&me.consumer);
        let mut cmd = script.call(&[
            &keys.place,
            &keys.items,
            &keys.kept,
            &keys.due,
            &keys.hosts,
            &held,
        ]);
        cmd.arg(self.kind.word())
            .arg(&*me.consumer)
            .arg(room.messages.max(1))
            .arg(room.bytes)
            .arg(format!("{:016x}", fastrand::u64(..)));
        let answer = script.run(&self.reads, &cmd).await?;
        let Value::Array(rows) = answer else {
            return Ok(None);
        };
        let mut rows = rows.into_iter();
        let due = rows.next().as_ref().and_then(entry::int);
        let due = due.and_then(|ms| u64::try_from(ms).ok());
        let mut fetched = Vec::with_capacity(rows.len());
        let mut ledger = self.ledger.lock();
        for (id, value, record) in rows.filter_map(taken) {
            let known = self.known(&id, &record);
            let priority = record.priority();
            if let Some(token) = ledger.hold(id, me.epoch, record) {
                let mut message = envelope::read(value, &self.reading, known);
                message.priority = message.priority.or(priority);
                fetched.push(Fetched { token, message });
            }
        }
        Ok(Some(Taken {
            fetched,
            due: due.map(Duration::from_millis),
        }))
    }

    fn known(&self, id: &ByteString, record: &Record) -> Known {
        let at = id.split_once('-').and_then(|(ms, _)| ms.parse().ok());
        Known {
            position: id.clone(),
            stable: true,
            at_ms: at.unwrap_or(0),
            kept: record.kept(),
        }
    }

    /// Gives back what the server says we hold, since at least `idle`, and nobody has: its delivery was lost with a
    /// connection.
    async fn orphans(&self, me: &Identity, idle: Duration) -> Result<(), RedisError> {
        let held = self.keys.held(&me.consumer);
        let time = entry::items(self.reads.query(&redis::cmd("TIME")).await?).unwrap_or_default();
        let seconds = time.first().and_then(entry::int).unwrap_or(0);
        let before = seconds * 1000 - i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
        let mut cmd = redis::cmd("ZRANGEBYSCORE");
        cmd.arg(&held).arg("-inf");
        if idle.is_zero() {
            cmd.arg("+inf");
        } else {
            cmd.arg(before);
        }
        let ids = entry::items(self.reads.query(&cmd).await?).unwrap_or_default();
        let ids = ids.into_iter().filter_map(entry::text);
        let ids = ids.map(ByteString::from).collect();
        let lost = self.ledger.lock().orphans(ids);
        if lost.is_empty() {
            return Ok(());
        }
        let script = &self.scripts.queue.giveback;
        for some in lost.chunks(1000) {
            let mut cmd = script.call(&[&held, &self.keys.due]);
            for id in some {
                cmd.arg(&**id);
            }
            script.run(&self.reads, &cmd).await?;
        }
        tracing::info!(
            place = self.keys.place,
            count = lost.len(),
            "redis: what was lost with a connection is taken again"
        );
        Ok(())
    }
}

/// A row of `take.lua`: id, value and record.
fn taken(row: Value) -> Option<(ByteString, bytes::Bytes, Record)> {
    let mut row = entry::items(row)?.into_iter();
    let id = entry::text(row.next()?)?;
    let value = entry::bytes(row.next()?)?;
    let record = Record::parse(&entry::text(row.next()?)?);
    Some((id.into(), value, record))
}

impl Leased for Queue {
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
            ledger.reborn(names::consumer(&self.options.host).into());
        }
    }

    fn place(&self) -> &str {
        &self.keys.place
    }

    async fn call(&self, verb: &str) -> Result<bool, RedisError> {
        let consumer = self.ledger.lock().identity().consumer;
        let script = &self.scripts.queue.lease;
        let mut cmd = script.call(&[
            &self.keys.lease(&consumer),
            &self.keys.hosts,
            &self.keys.held(&consumer),
            &self.keys.due,
        ]);
        cmd.arg(verb)
            .arg(&*consumer)
            .arg(u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX));
        let answer = script.run(&self.control, &cmd).await?;
        Ok(answer == Value::Int(1))
    }
}
