//! One subscription as its parts see it: the worker that reads ([`worker`](super::worker)), the source that hands over,
//! the settler. What they share is under one lock, never held across an await.
//!
//! Under an order promise a released message has to come back before anything behind it. Given back alone it would come
//! after what was read meanwhile. So nothing more is handed over, and once all that was has ended, the connection is
//! taken down: the server has everything again, in its order, before somebody reads on (*rewinding*). It is the same at a
//! stop: consumers are not cancelled before all in hand has ended, because the next host would begin with what is behind.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::BasicAckOptions;
use lapin::types::ShortString;
use lapin::{Channel, Connection};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connect::{within, words};
use super::declare::{Declaration, Piece};
use super::ledger::{Epoch, Held, Ledger, With};
use super::link::Own;
use super::notes::{Note, Notes};
use super::outlet::Outlet;
use super::step::Tier;
use super::wire::{Reading, Received, short};
use crate::delivery::Token;
use crate::ports::{BrokerError, SubscriptionSpec};

/// How much is parked in one batch.
pub(super) const AT_ONCE: usize = 256;

/// How long acknowledgements may take to be sent.
const SENDING: Duration = Duration::from_secs(30);

/// A connection that works.
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) epoch: Epoch,
    /// Consumers and acknowledgements. Nothing is published by it: an error of that would give everything in hand back.
    pub(super) channel: Channel,
    /// To be given up: something on it broke.
    pub(super) broken: CancellationToken,
    /// To be made anew, so that the server has everything again.
    pub(super) rewound: CancellationToken,
}

struct State {
    ledger: Ledger,
    own: Own,
    live: Option<Arc<Live>>,
    /// Handed over under an order promise and not ended.
    handed: HashSet<Token>,
    /// Nothing is handed over until the server has everything again.
    rewinding: bool,
    /// About what was given back in its place.
    notes: Notes,
    /// Acknowledgements sent by this connection, in frames, of which it is not known that the queues have them.
    frames: usize,
}

/// See the module.
pub(super) struct Subscription {
    pub(super) queue: ShortString,
    pub(super) retry: ShortString,
    pub(super) ordered: bool,
    /// Messages one fetch may bring.
    pub(super) window: usize,
    /// Most bytes a fetch had room for; 0 until the first.
    offered: AtomicUsize,
    /// What the configuration declares of its queue.
    pub(super) declared: Vec<Piece>,
    source: Reading,
    own: Reading,
    state: Mutex<State>,
    pub(super) outlet: Arc<Outlet>,
    /// How long a message may wait to be handed over.
    pub(super) waits: Duration,
    /// A fetch waits for messages.
    asked: AtomicBool,
    asks: Notify,
    /// Reading has stopped: from now on a settlement waits until the server has dealt with it.
    pub(super) stopping: CancellationToken,
}

impl Subscription {
    pub(super) fn new(
        broker: &Arc<str>,
        spec: &SubscriptionSpec,
        quorum: bool,
        waits: Duration,
        declared: Vec<Piece>,
        outlet: Arc<Outlet>,
    ) -> Result<Self, BrokerError> {
        let too_long = || {
            let name = &spec.name;
            BrokerError::Refused(format!(
                "rabbitmq: names of subscription {name} are too long"
            ))
        };
        let own = Own::new(&spec.name, &spec.plugin, quorum).ok_or_else(too_long)?;
        let reading = |queue: &Arc<str>, of_own| Reading {
            broker: Arc::clone(broker),
            subscription: Arc::clone(&spec.name),
            queue: Arc::clone(queue),
            source: Arc::clone(&spec.address),
            group: Arc::clone(&spec.group),
            own: of_own,
            prefix: Arc::clone(&own.retry),
        };
        Ok(Self {
            queue: short(&spec.address).ok_or_else(too_long)?,
            retry: short(&own.retry).ok_or_else(too_long)?,
            ordered: spec.ordered,
            window: spec.prefetch,
            offered: AtomicUsize::new(0),
            declared,
            source: reading(&spec.address, false),
            own: reading(&own.retry, true),
            state: Mutex::new(State {
                ledger: Ledger::default(),
                own,
                live: None,
                handed: HashSet::new(),
                rewinding: false,
                notes: Notes::default(),
                frames: 0,
            }),
            outlet,
            waits,
            asked: AtomicBool::new(false),
            asks: Notify::new(),
            stopping: CancellationToken::new(),
        })
    }

    pub(super) fn reading(&self, own: bool) -> &Reading {
        if own { &self.own } else { &self.source }
    }

    /// The queue that is read beside the source, to be declared.
    pub(super) fn retry_declaration(&self) -> Declaration {
        self.state.lock().own.source()
    }

    /// A fetch has room for so many bytes.
    pub(super) fn offer(&self, bytes: usize) {
        self.offered.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Most bytes that may be in hand.
    pub(super) fn bytes(&self) -> usize {
        match self.offered.load(Ordering::Relaxed) {
            0 => usize::MAX,
            bytes => bytes,
        }
    }

    /// Whether a queue may be one whose channel keeps acknowledgements to itself ([`barrier`](super::barrier)). Of a
    /// source that is not declared nobody says what kind it is.
    pub(super) fn may_keep(&self, own: bool) -> bool {
        let kind = |piece: &Piece| match piece {
            Piece::Queue(queue) if queue.name == self.queue => Some(queue.is_quorum()),
            _ => None,
        };
        if own {
            self.retry_declaration().is_quorum()
        } else {
            self.declared.iter().find_map(kind).unwrap_or(true)
        }
    }

    /// Acknowledgements, in frames, of which it is not known that the queues have them.
    pub(super) fn frames(&self) -> usize {
        self.state.lock().frames
    }

    /// The queues have so many of them.
    pub(super) fn had(&self, frames: usize) {
        let mut state = self.state.lock();
        state.frames = state.frames.saturating_sub(frames);
    }

    /// A connection is ready.
    pub(super) fn up(&self, connection: Connection, channel: Channel) -> Arc<Live> {
        let mut state = self.state.lock();
        let live = Arc::new(Live {
            connection,
            epoch: state.ledger.epoch(),
            channel,
            broken: CancellationToken::new(),
            rewound: CancellationToken::new(),
        });
        state.live = Some(Arc::clone(&live));
        state.frames = 0;
        live
    }

    /// It is lost, or `ours`: taken down by the host. What is in hand comes again. Answers how much that is.
    pub(super) fn down(&self, ours: bool) -> usize {
        let mut state = self.state.lock();
        state.live = None;
        let lost = state.ledger.begin().1;
        if state.handed.is_empty() {
            state.rewinding = false;
        }
        if self.ordered {
            let notes = lost.iter().map(|held| {
                let returns = held.note.returns.saturating_add(u32::from(ours));
                let note = Note {
                    returns,
                    ..held.note
                };
                (&*held.received, note)
            });
            state.notes.write(notes);
        }
        lost.len()
    }

    /// What is remembered of a message that arrives.
    pub(super) fn note(&self, received: &Received) -> Note {
        if !self.ordered {
            return Note::default();
        }
        self.state.lock().notes.take(received).unwrap_or_default()
    }

    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.state.lock().live.clone()
    }

    pub(super) fn took(&self, held: Held) -> Option<Token> {
        self.state.lock().ledger.took(held)
    }

    pub(super) fn held(&self, token: Token) -> Option<Held> {
        self.state.lock().ledger.held(token).cloned()
    }

    /// Whether a message may be handed over, and if so, since when the server waits for it, and before when it shall not
    /// run. One that came by a connection that is lost comes again; while rewinding all of them do. One that has waited too
    /// long is not handed over any more: it is given back.
    pub(super) fn hand_over(
        &self,
        token: Token,
        now: Instant,
    ) -> Option<(Instant, Option<Instant>)> {
        let mut state = self.state.lock();
        if state.rewinding {
            return None;
        }
        let held = state.ledger.held_mut(token)?;
        if held.with != With::Source || now.saturating_duration_since(held.since) >= self.waits {
            return None;
        }
        held.with = With::Host;
        let times = (held.since, held.note.due);
        if self.ordered {
            state.handed.insert(token);
        }
        Some(times)
    }

    /// What has waited too long to be handed over: it is to be given back, in its order, and nobody gets it meanwhile.
    pub(super) fn unwanted(&self, now: Instant) -> Vec<(Token, Held)> {
        match now.checked_sub(self.waits) {
            Some(by) => self.state.lock().ledger.unwanted(by),
            None => Vec::new(),
        }
    }

    /// These could not be given back: somebody may have them after all, or they are tried again.
    pub(super) fn still_here(&self, tokens: impl Iterator<Item = Token>) {
        let mut state = self.state.lock();
        for token in tokens {
            if let Some(held) = state.ledger.held_mut(token) {
                held.with = With::Source;
            }
        }
    }

    /// A fetch waits for messages, or does not any more.
    pub(super) fn ask(&self, waits: bool) {
        self.asked.store(waits, Ordering::Release);
        if waits {
            self.asks.notify_waiters();
        }
    }

    /// Waits until a fetch waits for messages.
    pub(super) async fn wanted(&self) {
        loop {
            let asks = self.asks.notified();
            tokio::pin!(asks);
            asks.as_mut().enable();
            if self.asked.load(Ordering::Acquire) {
                return;
            }
            asks.await;
        }
    }

    /// A message under an order promise is to come again with these.
    pub(super) fn remember(
        &self,
        token: Token,
        attempts: u32,
        first_failed_ms: Option<u64>,
        due: Option<Instant>,
    ) {
        if let Some(held) = self.state.lock().ledger.held_mut(token) {
            held.note = Note {
                attempts,
                first_failed_ms,
                due,
                ..held.note
            };
        }
    }

    /// All that is in hand under an order promise is to come again, in its place: some of it was released. At a stop the
    /// end of the connection does it.
    pub(super) fn rewind(&self) {
        if !self.stopping.is_cancelled() {
            self.state.lock().rewinding = true;
        }
    }

    /// These have ended, whichever way.
    pub(super) fn ended(&self, tokens: impl Iterator<Item = Token>) {
        if !self.ordered {
            return;
        }
        let mut state = self.state.lock();
        for token in tokens {
            state.handed.remove(&token);
        }
        if state.rewinding && state.handed.is_empty() {
            match &state.live {
                Some(live) => live.rewound.cancel(),
                None => state.rewinding = false,
            }
        }
    }

    /// Whether the host has nothing but these, which are settled.
    pub(super) fn none_but(&self, settled: impl Iterator<Item = Token>) -> bool {
        let state = self.state.lock();
        if self.ordered {
            // What goes back in its place is held until the connection ends.
            state.handed.is_subset(&settled.collect())
        } else {
            !state.ledger.any_with_host()
        }
    }

    pub(super) fn in_hand(&self) -> usize {
        self.state.lock().ledger.len()
    }

    /// The holding queues that are known to be there.
    pub(super) fn holding(&self) -> Vec<(Tier, ShortString)> {
        let state = self.state.lock();
        let own = &state.own;
        let tiers = own.tiers();
        tiers.map(|tier| (tier, own.holding(tier).name)).collect()
    }

    /// The holding queue of this tier, to be declared.
    pub(super) fn holding_of(&self, tier: Tier) -> Declaration {
        self.state.lock().own.holding(tier)
    }

    /// There is a holding queue of this tier.
    pub(super) fn used(&self, tier: Tier) {
        self.state.lock().own.used(tier);
    }

    /// There is none.
    pub(super) fn gone(&self, tier: Tier) {
        self.state.lock().own.gone(tier);
    }

    /// Acknowledges. Frames are written together: waiting for one before the next is written costs most of the speed.
    /// An error means that the connection is going or gone, and that they come again.
    pub(super) async fn acknowledge(&self, live: &Live, tokens: &[Token]) -> Result<(), String> {
        let acks = {
            let mut state = self.state.lock();
            if state.ledger.epoch() != live.epoch {
                return Err("its connection is gone".to_owned());
            }
            let acks = state.ledger.acknowledge(live.epoch, tokens);
            state.frames += acks.len();
            acks
        };
        let sent = acks.iter().map(|ack| {
            let multiple = ack.multiple;
            live.channel
                .basic_ack(ack.tag, BasicAckOptions { multiple })
        });
        let all = async { join_all(sent).await.into_iter().collect() };
        within(SENDING, all).await.map_err(|error| {
            live.broken.cancel();
            words(&error)
        })
    }
}
