//! What of one partition is settled, and so how far its offset may be committed.
//!
//! Messages of a partition end in any order, and Kafka keeps one number for all of them. So every offset received is
//! noted with its [`State`]; the *watermark* is the first of them that is not settled, and nothing beyond it is ever
//! committed (DESIGN §2, guarantee 5). One tracker lives as long as one assignment of the partition: its [`Epoch`] is
//! part of every [`Token`], so that a settlement that arrives after the partition went elsewhere is recognised.
//!
//! A message is kept here until it is settled: one that is released is handed out again from memory, and the partition
//! is never read twice for it. That costs little, since its bytes are shared with whoever has it in hand.
//!
//! Bounded by whoever feeds it: [`Tracker::span`] and [`Tracker::bytes`] are what a crash now would repeat.
//!
//! What will surprise you:
//! - Offsets are not contiguous: compaction, transaction markers and aborted transactions leave gaps. Nothing here
//!   counts with `offset + 1` but the position behind the newest message.
//! - A log may begin again below its own end: the topic was deleted and made again, or its newest part was lost with a
//!   server. Then nothing known about its offsets is true any more ([`Received::Restarted`]).

use std::collections::VecDeque;

use super::metadata::Run;
use crate::delivery::Token;

/// Names one assignment of one partition; never used again while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Epoch(pub(super) u32);

impl Epoch {
    /// Epochs there are. Used up by as many rebalances, then they begin again.
    const COUNT: u32 = 1 << 24;

    /// The epoch after this one.
    pub(super) fn following(self) -> Self {
        Self((self.0 + 1) % Self::COUNT)
    }

    /// Which assignment a token belongs to.
    pub(super) fn of(token: Token) -> Self {
        Self((token.0 >> 40) as u32)
    }
}

/// 24 bits of epoch, 8 that count deliveries of one message, the lower 32 of its offset: within one window that is
/// enough to tell messages apart.
fn token<M>(epoch: Epoch, entry: &Entry<M>) -> Token {
    let low = entry.offset as u64 & u64::from(u32::MAX);
    Token(u64::from(epoch.0) << 40 | u64::from(entry.round) << 32 | low)
}

/// What is known about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be handed out, for the first time or again.
    Waiting,
    /// Handed out.
    InHand,
    /// Settled for good.
    Done,
}

#[derive(Debug)]
struct Entry<M> {
    offset: i64,
    bytes: usize,
    state: State,
    /// How often it was handed out, so that an old token of it is not taken for the present one.
    round: u8,
    /// The message, until it is settled.
    message: Option<M>,
}

/// What to do with a message that was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<M> {
    /// Hand it out in its turn.
    New,
    /// The log goes on before where it was: begin a new epoch, and receive it there.
    Restarted(M),
}

/// The offsets of one partition during one assignment.
#[derive(Debug)]
pub(super) struct Tracker<M> {
    epoch: Epoch,
    /// Ascending. The first one is never done.
    entries: VecDeque<Entry<M>>,
    /// One behind the newest received. `None` until the first message.
    end: Option<i64>,
    bytes: usize,
    in_hand: usize,
}

impl<M> Tracker<M> {
    /// Nothing received yet.
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            entries: VecDeque::new(),
            end: None,
            bytes: 0,
            in_hand: 0,
        }
    }

    /// A message came from the partition.
    pub(super) fn received(&mut self, offset: i64, bytes: usize, message: M) -> Received<M> {
        if self.end.is_some_and(|end| offset < end) {
            return Received::Restarted(message);
        }
        self.end = Some(offset + 1);
        self.bytes += bytes;
        self.entries.push_back(Entry {
            offset,
            bytes,
            state: State::Waiting,
            round: 0,
            message: Some(message),
        });
        Received::New
    }

    /// A message came that an earlier owner has settled. Nothing is said of a log that goes on before where it was.
    pub(super) fn settled_before(&mut self, offset: i64) {
        self.end = Some(offset + 1);
        if !self.entries.is_empty() {
            self.entries.push_back(Entry {
                offset,
                bytes: 0,
                state: State::Done,
                round: 0,
                message: None,
            });
        }
    }

    /// What is settled behind the watermark, ascending. Offsets between two settled ones that never came belong to them.
    pub(super) fn settled(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut open = false;
        for entry in &self.entries {
            match runs.last_mut() {
                Some((_, last)) if open && entry.state == State::Done => *last = entry.offset,
                _ if entry.state == State::Done => runs.push((entry.offset, entry.offset)),
                _ => {}
            }
            open = entry.state == State::Done;
        }
        runs
    }

    /// The message is settled for good. Answers its offset; `None` where the token is not in hand here.
    pub(super) fn complete(&mut self, token: Token) -> Option<i64> {
        let entry = self.take_back(token, State::Done)?;
        entry.message = None;
        let offset = entry.offset;
        while let Some(first) = self.entries.front()
            && first.state == State::Done
        {
            self.bytes -= first.bytes;
            self.entries.pop_front();
        }
        Some(offset)
    }

    /// The message is to be handed out again. Answers its offset and size; `None` where the token is not in hand here.
    pub(super) fn release(&mut self, token: Token) -> Option<(i64, usize)> {
        let entry = self.take_back(token, State::Waiting)?;
        Some((entry.offset, entry.bytes))
    }

    fn take_back(&mut self, given: Token, state: State) -> Option<&mut Entry<M>> {
        let front = self.entries.front()?.offset;
        // The lower half of the offset, counted from the front.
        let ahead = (given.0 as u32).wrapping_sub(front as u32);
        let at = self.find(front.checked_add(i64::from(ahead))?)?;
        let epoch = self.epoch;
        let entry = &mut self.entries[at];
        if entry.state != State::InHand || token(epoch, entry) != given {
            return None;
        }
        entry.state = state;
        self.in_hand -= 1;
        Some(entry)
    }

    /// The offset to commit: the first one that is not settled, or the position behind the newest. `None` until the
    /// first message.
    pub(super) fn watermark(&self) -> Option<i64> {
        self.entries.front().map(|e| e.offset).or(self.end)
    }

    /// The position behind the newest message. `None` until the first one.
    pub(super) fn end(&self) -> Option<i64> {
        self.end
    }

    /// Handed out and not settled.
    pub(super) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Messages at and behind the watermark: what a crash now would repeat.
    pub(super) fn span(&self) -> usize {
        self.entries.len()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the offset is. Without gaps the first guess is right.
    fn find(&self, offset: i64) -> Option<usize> {
        if let Some(first) = self.entries.front()
            && let Some(guess) = offset.checked_sub(first.offset)
            && let Ok(guess) = usize::try_from(guess)
            && self.entries.get(guess).is_some_and(|e| e.offset == offset)
        {
            return Some(guess);
        }
        let found = self.entries.binary_search_by_key(&offset, |e| e.offset);
        found.ok()
    }
}

impl<M: Clone> Tracker<M> {
    /// A message that waits is handed out. `None` where it does not wait any more.
    pub(super) fn hand_out(&mut self, offset: i64) -> Option<(Token, M)> {
        let at = self.find(offset)?;
        let entry = &mut self.entries[at];
        if entry.state != State::Waiting {
            return None;
        }
        let message = entry.message.clone()?;
        entry.state = State::InHand;
        entry.round = entry.round.wrapping_add(1);
        self.in_hand += 1;
        Some((token(self.epoch, entry), message))
    }
}

#[cfg(test)]
mod tests;
