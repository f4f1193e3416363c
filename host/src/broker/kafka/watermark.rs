//! What of one partition is settled, and so how far its offset may be committed.
//!
//! Messages of a partition end in any order, and Kafka keeps one number for all of them. So every offset received is
//! noted with its [`State`]; the *watermark* is the first of them that is not settled, and nothing beyond it is ever
//! committed (DESIGN §2, guarantee 5). One tracker lives as long as one assignment of the partition: its [`Epoch`] is
//! part of every [`Token`], so that a settlement that arrives after the partition went elsewhere is recognised.
//!
//! Bounded by whoever feeds it: [`Tracker::span`] and [`Tracker::bytes`] are what a crash now would repeat.
//!
//! What will surprise you:
//! - Offsets are not contiguous: compaction, transaction markers and aborted transactions leave gaps. Nothing here
//!   counts with `offset + 1` but the position behind the newest message.
//! - A released message comes again by reading the partition again from there. What lies behind it and is settled or
//!   still in hand comes again too, and is recognised: [`Tracker::received`] answers [`Received::Known`], and it is not
//!   delivered twice.
//! - A released message may be gone from the log when its turn comes (retention, compaction). Then it is given up, or
//!   the watermark would stand still for ever.
//! - A log may begin again below its own end: the topic was deleted and made again, or its newest part was lost with a
//!   server. Then nothing known about its offsets is true any more ([`Received::Restarted`]).

use std::collections::VecDeque;

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
fn token(epoch: Epoch, entry: &Entry) -> Token {
    let low = entry.offset as u64 & u64::from(u32::MAX);
    Token(u64::from(epoch.0) << 40 | u64::from(entry.round) << 32 | low)
}

/// What is known about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Received and not handed out yet.
    Waiting,
    /// Handed out.
    InHand,
    /// Handed out and given back: it has to be read again.
    Released,
    /// Settled for good.
    Done,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    bytes: usize,
    state: State,
    /// How often it was handed out, so that an old token of it is not taken for the present one.
    round: u8,
}

/// What to do with a message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Deliver it.
    New,
    /// It is settled, in hand, or will be read again: throw it away.
    Known,
    /// The log goes on before where it was: begin a new epoch, and receive it there.
    Restarted,
}

/// A partition that was told to go back, until the first message came again.
///
/// One from behind where it was is either under way still, or the log lost everything that was to be read again. So it
/// is thrown away and the partition told again, until a gap is believed.
#[derive(Debug, Clone, Copy)]
struct Rewound {
    /// The position it went back from.
    from: i64,
    /// How often it has been told.
    told: u8,
    /// Whether it has to be told again. Until then whatever comes is thrown away.
    doubt: bool,
}

/// The offsets of one partition during one assignment.
#[derive(Debug)]
pub(super) struct Tracker {
    epoch: Epoch,
    /// Ascending. The first one is never done.
    entries: VecDeque<Entry>,
    /// The offset expected next: one behind the newest received, or where reading was told to go on. `None` until the first message.
    cursor: Option<i64>,
    /// Behind everything ever received and settled, for when `entries` is empty.
    end: Option<i64>,
    rewound: Option<Rewound>,
    bytes: usize,
    in_hand: usize,
    released: usize,
    gone: u64,
}

impl Tracker {
    /// How often a partition is told to go back before a gap is believed.
    const TELLINGS: u8 = 3;

    /// Nothing received yet.
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            entries: VecDeque::new(),
            cursor: None,
            end: None,
            rewound: None,
            bytes: 0,
            in_hand: 0,
            released: 0,
            gone: 0,
        }
    }

    /// The assignment it stands for.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A message came from the partition.
    pub(super) fn received(&mut self, offset: i64, bytes: usize) -> Received {
        if self.must_rewind() {
            // The order to go back is still to be given: this one will come again.
            return Received::Known;
        }
        if let Some(cursor) = self.cursor {
            if offset < cursor {
                return Received::Restarted;
            }
            if let Some(rewound) = &mut self.rewound {
                rewound.doubt |= offset >= rewound.from && rewound.told < Self::TELLINGS;
                if rewound.doubt {
                    return Received::Known;
                }
            }
            self.give_up(cursor, offset);
        }
        self.rewound = None;
        self.cursor = Some(offset + 1);
        if self.watermark().is_some_and(|mark| offset < mark) {
            return Received::Known;
        }
        match self.find(offset) {
            Ok(at) => match self.entries[at].state {
                State::Released => {
                    self.entries[at].state = State::Waiting;
                    self.released -= 1;
                    Received::New
                }
                State::Waiting | State::InHand | State::Done => Received::Known,
            },
            Err(at) => {
                let state = State::Waiting;
                let round = 0;
                self.entries.insert(
                    at,
                    Entry {
                        offset,
                        bytes,
                        state,
                        round,
                    },
                );
                self.bytes += bytes;
                self.end = self.end.max(Some(offset + 1));
                Received::New
            }
        }
    }

    /// Released messages of these offsets that the log no longer has: reading went past them.
    fn give_up(&mut self, from: i64, to: i64) {
        if self.released == 0 {
            return;
        }
        for entry in &mut self.entries {
            if entry.state == State::Released && (from..to).contains(&entry.offset) {
                entry.state = State::Done;
                self.released -= 1;
                self.gone += 1;
            }
        }
        self.shed();
    }

    /// A received message is handed out. `None` where it is not waiting any more.
    pub(super) fn hand_out(&mut self, offset: i64) -> Option<Token> {
        let at = self.find(offset).ok()?;
        let entry = &mut self.entries[at];
        if entry.state != State::Waiting {
            return None;
        }
        entry.state = State::InHand;
        entry.round = entry.round.wrapping_add(1);
        self.in_hand += 1;
        Some(token(self.epoch, entry))
    }

    /// The message is settled for good. Answers its offset; `None` where the token is not in hand here.
    pub(super) fn complete(&mut self, token: Token) -> Option<i64> {
        let offset = self.take_back(token, State::Done)?;
        self.shed();
        Some(offset)
    }

    /// The message is to come again. Answers its offset; `None` where the token is not in hand here.
    pub(super) fn release(&mut self, token: Token) -> Option<i64> {
        let offset = self.take_back(token, State::Released)?;
        self.released += 1;
        Some(offset)
    }

    fn take_back(&mut self, given: Token, state: State) -> Option<i64> {
        let front = self.entries.front()?.offset;
        // The lower half of the offset, counted from the front.
        let ahead = (given.0 as u32).wrapping_sub(front as u32);
        let at = self.find(front.checked_add(i64::from(ahead))?).ok()?;
        let epoch = self.epoch;
        let entry = &mut self.entries[at];
        if entry.state != State::InHand || token(epoch, entry) != given {
            return None;
        }
        entry.state = state;
        self.in_hand -= 1;
        Some(entry.offset)
    }

    /// Forgets what waits, from `offset` on: it will be read again, here or elsewhere.
    pub(super) fn forget_waiting(&mut self, offset: i64) {
        // What waits is newer than all that was handed out, but for messages that came again: those stay to be read.
        while let Some(last) = self.entries.back() {
            if last.state != State::Waiting || last.offset < offset || last.round > 0 {
                break;
            }
            self.end = Some(last.offset);
            self.bytes -= last.bytes;
            self.entries.pop_back();
        }
        for entry in &mut self.entries {
            if entry.state == State::Waiting && entry.offset >= offset {
                entry.state = State::Released;
                self.released += 1;
            }
        }
    }

    /// Whether the partition has to be read again from [`rewind`](Self::rewind)'s answer.
    pub(super) fn must_rewind(&self) -> bool {
        match (self.first_released(), self.cursor) {
            (Some(offset), Some(cursor)) => offset < cursor,
            _ => false,
        }
    }

    fn first_released(&self) -> Option<i64> {
        if self.released == 0 {
            return None;
        }
        let released = |e: &&Entry| e.state == State::Released;
        self.entries.iter().find(released).map(|e| e.offset)
    }

    /// The partition is told to go back. Answers to where; `None` where nothing was released.
    pub(super) fn rewind(&mut self) -> Option<i64> {
        let to = self.first_released()?;
        self.rewound = Some(Rewound {
            from: self.cursor?,
            told: 1,
            doubt: false,
        });
        self.cursor = Some(to);
        Some(to)
    }

    /// The partition could not be told to go back.
    pub(super) fn doubt(&mut self) {
        if let Some(rewound) = &mut self.rewound {
            rewound.doubt = true;
        }
    }

    /// Whether the partition has to be told again to go back.
    pub(super) fn doubts(&self) -> bool {
        self.rewound.is_some_and(|r| r.doubt)
    }

    /// It is told again. Answers to where.
    pub(super) fn rewind_again(&mut self) -> Option<i64> {
        let rewound = self.rewound.as_mut().filter(|r| r.doubt)?;
        rewound.doubt = false;
        rewound.told = rewound.told.saturating_add(1);
        self.cursor
    }

    /// The offset to commit: the first one that is not settled, or the position behind the newest. `None` until the
    /// first message.
    pub(super) fn watermark(&self) -> Option<i64> {
        self.entries.front().map(|e| e.offset).or(self.end)
    }

    /// Messages that have to come again before anything new can.
    pub(super) fn released(&self) -> usize {
        self.released
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

    /// Released messages that were not in the log any more when it was read again.
    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    fn shed(&mut self) {
        while let Some(first) = self.entries.front()
            && first.state == State::Done
        {
            self.bytes -= first.bytes;
            self.entries.pop_front();
        }
    }

    /// Where the offset is, or would be. Without gaps the first guess is right.
    fn find(&self, offset: i64) -> Result<usize, usize> {
        if let Some(first) = self.entries.front()
            && let Some(guess) = offset.checked_sub(first.offset)
            && let Ok(guess) = usize::try_from(guess)
            && self.entries.get(guess).is_some_and(|e| e.offset == offset)
        {
            return Ok(guess);
        }
        self.entries.binary_search_by_key(&offset, |e| e.offset)
    }
}

#[cfg(test)]
mod tests;
