//! What the thread of one consumer does, decided without a client: messages and rebalances in, [`Action`]s out.
//!
//! Kafka's client is polled by one thread. Everything it learns comes in here, and what it has to do comes out of
//! [`Control::turn`]; the source takes messages out ([`Control::fetch`]), the settler says what became of them
//! ([`Control::settle`]). All of it is a lock and some arithmetic, so the lock may be held by whoever has something to
//! say; only the thread touches the client.
//!
//! Bounded by [`Bounds`]: messages received and not handed out, in all; messages at and behind the watermark, per
//! partition, which is what a crash repeats.
//!
//! What will surprise you:
//! - **Full is first answered by not polling.** Pausing a partition throws away what the client has fetched ahead, and
//!   the client leaks a little each time. Handlers that are slow but moving never cause one; only what stays full for
//!   [`BUFFER_GRACE`] or [`WINDOW_GRACE`] is paused, and resumed at half, at most once a second.
//! - **A released message stops its partition** until it is read again from there: what was received behind it is thrown
//!   away. So order is kept whoever asked for it. A delay given with the release delays the partition.
//! - **Attempts are committed while the watermark stands still**: an explicit commit of the same offset with another
//!   text. Where it moves, the text goes along with the offset.
//! - **A revoked partition** is emptied first ([`Control::leaving`]), given some time, and then given up with a commit
//!   of what is settled ([`Control::revoked`]). One that was lost is given up without ([`Control::lost`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::metadata::Kept;
use super::watermark::{Epoch, Received};
use crate::commit::Settlement;
use crate::delivery::Token;
use crate::ports::Room;

mod assignment;
mod slot;
mod words;

pub(super) use words::{Action, Amount, Bounds, Flushed, Gone, Handed, Next, Place, Position};

use slot::{Gate, Slot, Unsaved};

/// How long the thread leaves the client alone because the buffer is full, before it pauses partitions. With
/// [`RESUME_EVERY`] at most twice as long, partitions that are paused and resumed in turn are never empty in between.
const BUFFER_GRACE: Duration = Duration::from_millis(500);
/// The same for one partition whose window is full, which holds up the others.
const WINDOW_GRACE: Duration = Duration::from_millis(100);
/// Least time between two resumptions of a partition.
const RESUME_EVERY: Duration = Duration::from_secs(1);
/// How long the client has to go back before it is told again.
const SEEK_EVERY: Duration = Duration::from_millis(500);
/// How often positions are handed to the client, which commits them by itself.
const STORE_EVERY: Duration = Duration::from_millis(100);
/// How often attempts are committed where the watermark stands still.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Waiting<M> {
    epoch: Epoch,
    offset: i64,
    bytes: usize,
    message: M,
}

/// One consumer's state. `M` is a message, whatever it is made of.
#[derive(Debug)]
pub(super) struct Control<M> {
    bounds: Bounds,
    slots: BTreeMap<Epoch, Slot>,
    places: HashMap<Arc<str>, HashMap<i32, Epoch>>,
    last_epoch: Epoch,
    /// Received and not handed out, in the order they came.
    buffer: VecDeque<Waiting<M>>,
    buffered: usize,
    gate: Gate,
    stored_at: Option<Instant>,
    committed_at: Option<Instant>,
    stopping: bool,
    /// Settlements so far, covered by a flush under way, and covered by one that was confirmed.
    settled: Flushed,
    flushing: Flushed,
    flushed: Flushed,
    /// Of partitions that are no longer here.
    gone: u64,
}

impl<M> Control<M> {
    /// Without partitions.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            slots: BTreeMap::new(),
            places: HashMap::new(),
            last_epoch: Epoch(0),
            buffer: VecDeque::new(),
            buffered: 0,
            gate: Gate::default(),
            stored_at: None,
            committed_at: None,
            stopping: false,
            settled: Flushed(0),
            flushing: Flushed(0),
            flushed: Flushed(0),
            gone: 0,
        }
    }

    /// A message came. One of a partition that is not ours, or that will be read again, is thrown away.
    pub(super) fn message(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        bytes: usize,
        message: M,
    ) {
        let Some(mut epoch) = self.epoch(topic, partition) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&epoch) else {
            return;
        };
        if self.stopping || slot.leaving {
            return;
        }
        let mut answer = slot.tracker.received(offset, bytes);
        if answer == Received::Restarted {
            let anew = slot.anew();
            self.drop_slot(epoch);
            epoch = self.insert(anew);
            answer = match self.slots.get_mut(&epoch) {
                Some(slot) => slot.tracker.received(offset, bytes),
                None => return,
            };
        }
        match answer {
            Received::New => {
                self.buffered += bytes;
                self.buffer.push_back(Waiting {
                    epoch,
                    offset,
                    bytes,
                    message,
                });
            }
            Received::Known | Received::Restarted => {}
        }
    }

    /// Hands out what is there, in the order it came, at most `room`; one message may exceed its bytes.
    pub(super) fn fetch(&mut self, room: Room) -> Vec<Handed<M>> {
        let mut handed = Vec::with_capacity(self.buffer.len().min(room.messages));
        let mut bytes = 0;
        while handed.len() < room.messages && (bytes < room.bytes || handed.is_empty()) {
            let Some(waiting) = self.buffer.pop_front() else {
                break;
            };
            self.buffered -= waiting.bytes;
            let Some(slot) = self.slots.get_mut(&waiting.epoch) else {
                continue;
            };
            let Some(token) = slot.tracker.hand_out(waiting.offset) else {
                continue;
            };
            bytes += waiting.bytes;
            handed.push(Handed {
                token,
                message: waiting.message,
                kept: slot.kept(waiting.offset),
            });
        }
        handed
    }

    /// Says what became of a message.
    pub(super) fn settle(
        &mut self,
        token: Token,
        settlement: Settlement,
        now: Instant,
    ) -> Result<(), Gone> {
        let epoch = Epoch::of(token);
        let slot = self.slots.get_mut(&epoch).ok_or(Gone)?;
        match settlement {
            Settlement::Accept => slot.accept(token).ok_or(Gone)?,
            Settlement::Release {
                after,
                attempts,
                first_failed_ms,
            } => {
                let kept = Kept {
                    attempts,
                    first_failed_ms,
                };
                let due = now + after.unwrap_or(Duration::ZERO);
                let offset = slot.release(token, kept, due).ok_or(Gone)?;
                self.forget(epoch, offset);
            }
        }
        self.settled.0 += 1;
        Ok(())
    }

    /// Throws away what waits of a partition, from `offset` on.
    fn forget(&mut self, epoch: Epoch, offset: i64) {
        let mut bytes = 0;
        self.buffer.retain(|w| {
            let stays = w.epoch != epoch || w.offset < offset;
            bytes += if stays { 0 } else { w.bytes };
            stays
        });
        self.buffered -= bytes;
        if let Some(slot) = self.slots.get_mut(&epoch) {
            slot.tracker.forget_waiting(offset);
        }
    }

    /// Nothing more will be fetched. What waits is left to the next owner; from now on settlements are flushed.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        let epochs: Vec<Epoch> = self.slots.keys().copied().collect();
        for epoch in epochs {
            self.forget(epoch, i64::MIN);
        }
    }

    /// What is to be done now.
    pub(super) fn turn(&mut self, now: Instant) -> (Vec<Action>, Next) {
        let mut actions = Vec::new();
        self.reading(now, &mut actions);
        let next = self.flow(now, &mut actions);
        self.saving(now, &mut actions);
        (actions, next)
    }

    /// Goes back to what was released.
    fn reading(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.stopping {
            return;
        }
        for slot in self.slots.values_mut() {
            if let Some(to) = slot.seek(now) {
                actions.push(Action::Seek(slot.place.clone(), to));
            }
        }
    }

    /// Pauses and resumes.
    fn flow(&mut self, now: Instant, actions: &mut Vec<Action>) -> Next {
        let used = Amount {
            messages: self.buffer.len(),
            bytes: self.buffered,
        };
        let buffer = self.gate.look(used, self.bounds.buffer, now);
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        let mut wait: Option<Instant> = None;
        for slot in self.slots.values_mut() {
            let window = slot.full(self.bounds.window, now);
            let until = [
                buffer.map(|since| since + BUFFER_GRACE),
                window.map(|since| since + WINDOW_GRACE),
            ];
            let until = until.into_iter().flatten().min();
            let out = self.stopping || slot.leaving;
            if slot.paused {
                if until.is_none() && !out && slot.may_resume(now) {
                    slot.resume(now);
                    resume.push(slot.place.clone());
                }
            } else if out || until.is_some_and(|until| until <= now) {
                slot.paused = true;
                pause.push(slot.place.clone());
            } else if let Some(until) = until {
                wait = Some(wait.map_or(until, |w| w.min(until)));
            }
        }
        if !pause.is_empty() {
            actions.push(Action::Pause(pause));
        }
        if !resume.is_empty() {
            actions.push(Action::Resume(resume));
        }
        wait.map_or(Next::Poll, |until| Next::Wait(until - now))
    }

    /// Hands positions and attempts to the client.
    fn saving(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.stopping {
            if self.flushing < self.settled {
                self.flushing = self.settled;
                let positions = self.positions(&self.places());
                actions.push(Action::Flush(positions, self.settled));
            }
            return;
        }
        let due = |at: Option<Instant>, every| at.is_none_or(|at| now >= at + every);
        let store = due(self.stored_at, STORE_EVERY);
        let commit = due(self.committed_at, COMMIT_EVERY);
        let (mut moved, mut still) = (Vec::new(), Vec::new());
        for slot in self.slots.values_mut() {
            match slot.unsaved() {
                Unsaved::Moved if store => moved.extend(slot.save()),
                Unsaved::Still if commit => still.extend(slot.save()),
                _ => {}
            }
        }
        if !moved.is_empty() {
            self.stored_at = Some(now);
            actions.push(Action::Store(moved));
        }
        if !still.is_empty() {
            self.committed_at = Some(now);
            actions.push(Action::Commit(still));
        }
    }

    /// The client could not go back: it is told again.
    pub(super) fn not_sought(&mut self, place: &Place) {
        let epoch = self.epoch(&place.topic, place.partition);
        if let Some(slot) = epoch.and_then(|e| self.slots.get_mut(&e)) {
            slot.tracker.doubt();
        }
    }

    /// A commit did not succeed: it is tried again.
    pub(super) fn not_committed(&mut self, positions: &[Position]) {
        for position in positions {
            let epoch = self.epoch(&position.place.topic, position.place.partition);
            if let Some(slot) = epoch.and_then(|e| self.slots.get_mut(&e)) {
                slot.dirty = true;
            }
        }
    }

    /// A flush ended, well or not. One that failed is tried at the next turn.
    pub(super) fn flushed(&mut self, upto: Flushed, confirmed: bool) {
        if confirmed {
            self.flushed = self.flushed.max(upto);
        } else {
            self.flushing = self.flushed;
        }
    }

    /// Up to where settlements have been made.
    pub(super) fn settled(&self) -> Flushed {
        self.settled
    }

    /// Whether what was settled up to there is committed for sure. Without a stop nobody has to wait for it.
    pub(super) fn is_flushed(&self, upto: Flushed) -> bool {
        !self.stopping || self.flushed >= upto
    }

    /// Nothing waits to be fetched.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Released messages the log did not have any more, since the beginning.
    pub(super) fn gone(&self) -> u64 {
        self.gone + self.slots.values().map(|s| s.tracker.gone()).sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
