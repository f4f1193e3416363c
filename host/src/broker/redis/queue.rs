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
//! - A script cannot wait. For a list the [`Waiter`] waits beside it, by moving the last item to where it is; a sorted set
//!   can only be asked again, at most every [`ASK`].
//! - What is in hand is not in the list. A client that looks there sees what is waiting, nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use parking_lot::Mutex;
use redis::{RedisError, Value};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::Link;
use super::entry;
use super::envelope::{self, Known, Reading};
use super::lease::{self, Leased};
use super::ledger::Identity;
use super::script::{self, Script};
use super::subscription::{Fetched, retry_stream};
use super::{Options, RedisBroker, keys as names};
use crate::delivery::Inbox;
use crate::place::PlaceKind;
use crate::ports::{BrokerError, Lag, Room, SubscriptionSpec};

mod keys;
mod ledger;
mod reader;
mod record;
mod recovery;
mod settler;
mod source;

pub(super) use keys::Keys;
use ledger::Ledger;
use reader::{Reader, Waiter};
use record::Record;
use recovery::Recovery;
pub(super) use settler::QueueSettler;
use source::Lane;
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

/// The list that redriven dead letters of a subscription are read from.
fn retry_list(spec: &SubscriptionSpec) -> String {
    retry_stream(&spec.name, &spec.plugin)
}

impl RedisBroker {
    /// Opens a subscription to a list or a sorted set.
    pub(super) fn start_queue(
        &self,
        spec: &SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> (QueueSource, QueueSettler) {
        let kind = match spec.kind {
            PlaceKind::SortedSet => Kind::SortedSet,
            _ => Kind::List,
        };
        let retry = retry_list(spec);
        let retry = self.queue(spec, Kind::List, &retry, 1);
        self.open_queues(vec![self.queue(spec, kind, &spec.address, 0), retry], inbox)
    }

    /// Opens what a subscription has beside channels, which keep nothing: the list of what is redriven to it.
    pub(super) fn start_redriven(
        &self,
        spec: &SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> (QueueSource, QueueSettler) {
        let retry = self.queue(spec, Kind::List, &retry_list(spec), 1);
        self.open_queues(vec![retry], inbox)
    }

    fn open_queues(
        &self,
        queues: Vec<Arc<Queue>>,
        inbox: Arc<Inbox>,
    ) -> (QueueSource, QueueSettler) {
        let living = self.closing.child_token();
        let reading = self.closing.child_token();
        let lanes = queues.iter().map(|queue| {
            self.leases.spawn(lease::keep(
                Arc::clone(queue),
                self.troubles.part(),
                living.clone(),
            ));
            self.run(queue, &reading)
        });
        let lanes = lanes.collect();
        let lease = Arc::new(living.drop_guard());
        let source = QueueSource {
            lanes,
            inbox,
            ready: VecDeque::new(),
            reading: reading.clone(),
            _reading: reading.drop_guard(),
            _lease: Arc::clone(&lease),
        };
        let settler = QueueSettler {
            queues,
            _lease: lease,
        };
        (source, settler)
    }

    fn queue(&self, spec: &SubscriptionSpec, kind: Kind, place: &str, first: u64) -> Arc<Queue> {
        let consumer = names::consumer(&self.options.host).into();
        Arc::new(Queue {
            options: Arc::clone(&self.options),
            scripts: Arc::clone(&self.scripts),
            kind,
            own: first == 0,
            keys: Keys::new(place),
            reading: Reading {
                broker: Arc::clone(&self.options.name),
                subscription: Arc::clone(&spec.name),
                place: place.into(),
                group: Arc::clone(&spec.group),
            },
            reads: Link::new(self.endpoint.clone(), self.troubles.part()),
            data: Arc::clone(&self.data),
            control: Arc::clone(&self.control),
            ledger: Mutex::new(Ledger::new(consumer, first)),
            registered: watch::Sender::new(None),
            doubt: Notify::new(),
            wake: Notify::new(),
            idle: Notify::new(),
        })
    }

    /// Starts the tasks of one queue.
    fn run(&self, queue: &Arc<Queue>, reading: &CancellationToken) -> Lane {
        let spawn = |task: futures_util::future::BoxFuture<'static, ()>| {
            tokio::spawn(reading.clone().run_until_cancelled_owned(task));
        };
        let (asks, asked) = mpsc::channel(1);
        let (fresh_in, fresh) = mpsc::channel(1);
        let most = match queue.kind {
            Kind::SortedSet => ASK,
            Kind::List => self.options.block,
        };
        spawn(Box::pin(
            Reader {
                queue: Arc::clone(queue),
                part: self.troubles.part(),
                asks: asked,
                fresh: fresh_in,
                most,
            }
            .run(),
        ));
        spawn(Box::pin(
            Recovery {
                queue: Arc::clone(queue),
                part: self.troubles.part(),
            }
            .run(),
        ));
        // What is redriven may come a moment later: it has no connection to wait on.
        if queue.own && queue.kind == Kind::List {
            spawn(Box::pin(
                Waiter {
                    queue: Arc::clone(queue),
                    endpoint: self.endpoint.clone(),
                    part: self.troubles.part(),
                }
                .run(),
            ));
        }
        Lane {
            queue: Arc::clone(queue),
            asks,
            asked: false,
            fresh,
        }
    }

    /// How much a list or a sorted set still has before it, with what is redriven to its subscription.
    pub(super) async fn queue_lag(&self, spec: &SubscriptionSpec) -> Result<Lag, BrokerError> {
        let retry = retry_list(spec);
        let length = match spec.kind {
            PlaceKind::SortedSet => "ZCARD",
            PlaceKind::List => "LLEN",
            // Nothing of a channel is kept.
            _ => "EXISTS",
        };
        let (own, again) = (Keys::new(&spec.address), Keys::new(&retry));
        let counts = [
            (length, &own.place),
            ("LLEN", &again.place),
            ("HLEN", &own.items),
            ("HLEN", &again.items),
        ];
        let mut lag = Lag::default();
        for (at, (verb, key)) in counts.into_iter().enumerate() {
            let answer = self.control.query(redis::cmd(verb).arg(key)).await;
            let answer = answer.map_err(|e| self.control.error(&e))?;
            let count = entry::int(&answer).and_then(|n| u64::try_from(n).ok());
            let place = if at < 2 {
                &mut lag.waiting
            } else {
                &mut lag.pending
            };
            *place += count.unwrap_or(0);
        }
        Ok(lag)
    }
}
