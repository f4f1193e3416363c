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
//! - **A released message is handed out again from memory**, before whatever is newer in its partition, or when its
//!   delay is over. Where an order is promised it is not delayed here: dispatch keeps such messages in hand.
//! - **Attempts are committed while the watermark stands still**: an explicit commit of the same offset with another
//!   text. Where it moves, the text goes along with the offset.
//! - **A partition that kills its owners** is handed out one message at a time ([`slot::CAUTIOUS`]).
//! - **What is settled behind a message that is not** is told to the next owner by one that leaves in order, so that it is not
//!   handled again. Only a crash repeats it.
//! - **A revoked partition** is emptied first ([`Control::leaving`]), given some time, and then given up with a commit
//!   of what is settled ([`Control::revoked`]). One that was lost is given up without ([`Control::lost`]).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::metadata::{self, Kept};
use super::watermark::{Epoch, Received};
use crate::commit::Settlement;
use crate::delivery::Token;
use crate::ports::Room;

mod assignment;
mod commits;
mod slot;
mod words;

pub(super) use words::{Action, Amount, Bounds, Flushed, Gone, Handed, Next, Place, Position};

use slot::{Gate, Slot};

/// How long the thread leaves the client alone because the buffer is full, before it pauses partitions. With
/// [`RESUME_EVERY`] at most twice as long, partitions that are paused and resumed in turn are never empty in between.
const BUFFER_GRACE: Duration = Duration::from_millis(500);
/// The same for one partition whose window is full, which holds up the others.
const WINDOW_GRACE: Duration = Duration::from_millis(100);
/// Least time between two resumptions of a partition.
const RESUME_EVERY: Duration = Duration::from_secs(1);
/// How often positions are handed to the client, which commits them by itself.
const STORE_EVERY: Duration = Duration::from_millis(100);
/// How often attempts are committed where the watermark stands still.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// A message to be handed out. It lies in its partition's tracker.
#[derive(Debug)]
struct Waiting {
    epoch: Epoch,
    offset: i64,
    bytes: usize,
}

/// One consumer's state. `M` is a message, whatever it is made of.
#[derive(Debug)]
pub(super) struct Control<M> {
    bounds: Bounds,
    /// What is released may not be overtaken by what is newer in its partition: a delay is no delay then.
    ordered: bool,
    slots: BTreeMap<Epoch, Slot<M>>,
    places: HashMap<Arc<str>, HashMap<i32, Epoch>>,
    last_epoch: Epoch,
    /// Topics that were ours and known, and have left us altogether. One that comes back may be another of that name.
    left: HashSet<Arc<str>>,
    /// To be handed out, those of a partition in their order.
    buffer: VecDeque<Waiting>,
    buffered: usize,
    /// Released, and to be handed out again after a while.
    delayed: BTreeMap<(Instant, Epoch, i64), usize>,
    gate: Gate,
    /// How long the text beside an offset may be.
    most: usize,
    stored_at: Option<Instant>,
    committed_at: Option<Instant>,
    /// A commit that is not waited for is under way.
    sending: bool,
    stopping: bool,
    /// Settlements so far, covered by a flush under way, and covered by one that was confirmed.
    settled: Flushed,
    flushing: Flushed,
    flushed: Flushed,
}

impl<M: Clone> Control<M> {
    /// Without partitions.
    pub(super) fn new(bounds: Bounds, ordered: bool) -> Self {
        Self {
            bounds,
            ordered,
            slots: BTreeMap::new(),
            places: HashMap::new(),
            last_epoch: Epoch(0),
            left: HashSet::new(),
            buffer: VecDeque::new(),
            buffered: 0,
            delayed: BTreeMap::new(),
            gate: Gate::default(),
            most: metadata::MOST,
            stored_at: None,
            committed_at: None,
            sending: false,
            stopping: false,
            settled: Flushed(0),
            flushing: Flushed(0),
            flushed: Flushed(0),
        }
    }

    /// A message came. One of a partition that is not ours is thrown away.
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
        if slot.was_settled(offset) {
            slot.tracker.settled_before(offset);
            return;
        }
        if let Received::Restarted(message) = slot.tracker.received(offset, bytes, message) {
            let anew = slot.anew();
            self.drop_slot(epoch);
            epoch = self.insert(anew);
            if let Some(slot) = self.slots.get_mut(&epoch) {
                slot.tracker.received(offset, bytes, message);
            }
        }
        self.buffered += bytes;
        self.buffer.push_back(Waiting {
            epoch,
            offset,
            bytes,
        });
    }

    /// Hands out what is there, in the order it came, at most `room`; one message may exceed its bytes.
    pub(super) fn fetch(&mut self, room: Room) -> Vec<Handed<M>> {
        let mut handed = Vec::with_capacity(self.buffer.len().min(room.messages));
        let (mut bytes, mut at) = (0, 0);
        while handed.len() < room.messages && (bytes < room.bytes || handed.is_empty()) {
            let Some(waiting) = self.buffer.get(at) else {
                break;
            };
            let slot = self.slots.get_mut(&waiting.epoch);
            if slot.as_ref().is_some_and(|s| !s.may_hand_out()) {
                at += 1;
                continue;
            }
            let Some(waiting) = self.buffer.remove(at) else {
                break;
            };
            self.buffered -= waiting.bytes;
            if let Some(slot) = slot
                && let Some((token, message)) = slot.tracker.hand_out(waiting.offset)
            {
                bytes += waiting.bytes;
                handed.push(Handed {
                    token,
                    message,
                    kept: slot.kept(waiting.offset),
                    deliveries: slot.deliveries(waiting.offset),
                });
            }
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
                let (offset, bytes) = slot.release(token, kept).ok_or(Gone)?;
                let leaving = slot.leaving || self.stopping;
                match after.filter(|after| !after.is_zero() && !self.ordered) {
                    // The next owner has it.
                    _ if leaving => {}
                    Some(after) => {
                        self.delayed.insert((now + after, epoch, offset), bytes);
                    }
                    None => self.put_back(epoch, offset, bytes),
                }
            }
        }
        self.settled.0 += 1;
        Ok(())
    }

    /// A message waits again, before whatever is newer in its partition.
    fn put_back(&mut self, epoch: Epoch, offset: i64, bytes: usize) {
        let newer = |w: &Waiting| w.epoch == epoch && w.offset > offset;
        let at = self.buffer.iter().position(newer);
        self.buffered += bytes;
        self.buffer.insert(
            at.unwrap_or(self.buffer.len()),
            Waiting {
                epoch,
                offset,
                bytes,
            },
        );
    }

    /// Hands out nothing more of a partition.
    fn forget(&mut self, epoch: Epoch) {
        let mut bytes = 0;
        self.buffer.retain(|w| {
            bytes += if w.epoch == epoch { w.bytes } else { 0 };
            w.epoch != epoch
        });
        self.buffered -= bytes;
        self.delayed.retain(|(_, of, _), _| *of != epoch);
    }

    /// Nothing more will be fetched. What waits is left to the next owner; from now on settlements are flushed.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.buffer.clear();
        self.buffered = 0;
        self.delayed.clear();
    }

    /// What is to be done now.
    pub(super) fn turn(&mut self, now: Instant) -> (Vec<Action>, Next) {
        let mut actions = Vec::new();
        self.due(now);
        let next = self.flow(now, &mut actions);
        self.saving(now, &mut actions);
        (actions, next)
    }

    /// What was released for a while and is due waits again.
    fn due(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            let ((_, epoch, offset), bytes) = first.remove_entry();
            self.put_back(epoch, offset, bytes);
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
            let out = self.stopping || slot.leaving || slot.missing;
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

    /// Nothing more is fetched.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether a fetch would bring something.
    pub(super) fn is_ready(&self) -> bool {
        let ready = |w: &Waiting| self.slots.get(&w.epoch).is_some_and(Slot::may_hand_out);
        self.buffer.iter().any(ready)
    }

    /// Messages before the group that were not handed out, where the client knows how far its partitions reach.
    pub(super) fn waiting(&self, end: impl Fn(&Place) -> Option<i64>) -> u64 {
        let behind = |slot: &Slot<M>| {
            let next = slot.next()?;
            u64::try_from(end(&slot.place)? - next).ok()
        };
        let behind: u64 = self.slots.values().filter_map(behind).sum();
        behind + self.buffer.len() as u64
    }

    /// Messages handed out and not settled, those that wait for another attempt included.
    pub(super) fn pending(&self) -> u64 {
        let in_hand = self.slots.values().map(|s| s.tracker.in_hand());
        (in_hand.sum::<usize>() + self.delayed.len()) as u64
    }
}

#[cfg(test)]
mod tests;
