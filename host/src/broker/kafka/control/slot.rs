//! One partition that is ours.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::super::metadata::{self, Kept, Run};
use super::super::watermark::{Epoch, Tracker};
use super::{Amount, Place, Position, RESUME_EVERY};
use crate::delivery::Token;

/// A partition that so many owners began at the same offset, none of which left in order, may hold a message that kills
/// hosts. From then on its messages are handed out one at a time, each after a commit that says so: the one a host dies
/// of is then the one at the committed offset, and the count beside it is its own.
pub(super) const CAUTIOUS: u32 = 3;

/// So many settled messages are committed at once: at full speed the client's own commit, once a second, would leave tens
/// of thousands to be repeated by a crash.
pub(super) const COMMIT_AFTER: usize = 200;

/// Full at the bound, and until there is half of it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    since: Option<Instant>,
}

impl Gate {
    /// Since when it is full, if it is.
    pub(super) fn look(&mut self, used: Amount, bound: Amount, now: Instant) -> Option<Instant> {
        if used.messages >= bound.messages || used.bytes >= bound.bytes {
            self.since.get_or_insert(now);
        } else if used.messages <= bound.messages / 2 && used.bytes <= bound.bytes / 2 {
            self.since = None;
        }
        self.since
    }
}

/// What the client has not been told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsaved {
    /// Nothing.
    No,
    /// A further offset.
    Moved,
    /// Other attempts, or an offset before the last one: the client would not commit it by itself, or not say how it went.
    Still,
    /// The message to be handed out next, alone.
    Cautious,
}

#[derive(Debug)]
pub(super) struct Slot<M> {
    pub(super) place: Place,
    pub(super) tracker: Tracker<M>,
    /// Attempts of messages that are not settled, those not received yet included.
    kept: BTreeMap<i64, Kept>,
    /// What an earlier owner has settled and the client has not brought yet, ascending.
    settled: VecDeque<Run>,
    /// It will be taken away.
    pub(super) leaving: bool,
    /// The client says that its topic is not there.
    pub(super) missing: bool,
    /// Its topic was ours before, and may be another one now: nothing of it is handed out or committed until that is known.
    pub(super) unproven: bool,
    /// It is known which topic it belongs to.
    pub(super) identified: bool,
    pub(super) paused: bool,
    resumed_at: Option<Instant>,
    gate: Gate,
    /// What the client was told last, or found when the partition became ours.
    saved: Option<i64>,
    /// Messages that the watermark has passed since the last commit.
    passed: usize,
    /// Something has to be committed although the offset is the same.
    pub(super) dirty: bool,
    /// Where it was found, and how many owners in a row have begun there, this one included.
    begun: (Option<i64>, u32),
    /// Messages to be handed out one at a time.
    caution: usize,
    /// The offset that is committed for sure, while cautious.
    pub(super) sure: Option<i64>,
}

impl<M> Slot<M> {
    /// Paused, so that it is resumed: the client remembers pauses over rebalances. `cautious` messages are handed out
    /// alone where the partition has killed its owners.
    pub(super) fn new(place: Place, committed: Option<(i64, &str)>, cautious: usize) -> Self {
        let (saved, text) = match committed {
            Some((offset, text)) => (Some(offset), metadata::read(text)),
            None => (None, metadata::Text::default()),
        };
        let mut kept = text.kept;
        if let Some(offset) = saved {
            kept = kept.split_off(&offset);
        }
        let begun = text.begun.saturating_add(1);
        Self {
            place,
            tracker: Tracker::new(Epoch(0)),
            kept,
            settled: text.settled.into(),
            leaving: false,
            missing: false,
            unproven: false,
            identified: false,
            paused: true,
            resumed_at: None,
            gate: Gate::default(),
            saved,
            passed: 0,
            dirty: false,
            begun: (saved, begun),
            caution: if begun >= CAUTIOUS { cautious } else { 0 },
            sure: None,
        }
    }

    /// The same partition, of which nothing is known any more.
    pub(super) fn anew(&self) -> Self {
        Self {
            paused: self.paused,
            resumed_at: self.resumed_at,
            identified: true,
            // Whatever is committed next lies before it.
            saved: self.saved.or(Some(i64::MAX)),
            ..Self::new(self.place.clone(), None, 0)
        }
    }

    pub(super) fn begin(&mut self, epoch: Epoch) {
        self.tracker = Tracker::new(epoch);
    }

    /// Whether a message that came was settled by an earlier owner. Asked in the order of the log.
    pub(super) fn was_settled(&mut self, offset: i64) -> bool {
        while self.settled.front().is_some_and(|(_, last)| *last < offset) {
            self.settled.pop_front();
        }
        let restarted = self.tracker.end().is_some_and(|end| offset < end);
        let settled = self.settled.front().is_some_and(|run| run.0 <= offset);
        settled && !restarted
    }

    /// Whether its topic may be another one than it was, or none.
    pub(super) fn is_doubtful(&self) -> bool {
        self.missing || self.unproven
    }

    /// What is known of attempts of a message.
    pub(super) fn kept(&self, offset: i64) -> Kept {
        self.kept.get(&offset).copied().unwrap_or_default()
    }

    /// How often a message was handed out alone to owners that did not leave in order, this time included.
    pub(super) fn deliveries(&self, offset: i64) -> u32 {
        match self.begun {
            (Some(at), count) if at == offset => (count + 1).saturating_sub(CAUTIOUS).max(1),
            _ => 1,
        }
    }

    /// Whether the next message may be handed out.
    pub(super) fn may_hand_out(&self) -> bool {
        let alone = self.tracker.in_hand() == 0 && self.sure == self.tracker.watermark();
        !self.unproven && (self.caution == 0 || alone)
    }

    pub(super) fn accept(&mut self, token: Token) -> Option<()> {
        let before = self.tracker.span();
        let offset = self.tracker.complete(token)?;
        self.passed += before - self.tracker.span();
        self.caution = self.caution.saturating_sub(1);
        if !self.kept.is_empty() {
            self.kept.remove(&offset);
            if let Some(mark) = self.tracker.watermark() {
                self.kept = self.kept.split_off(&mark);
            }
        }
        Some(())
    }

    /// Answers offset and size.
    pub(super) fn release(&mut self, token: Token, kept: Kept) -> Option<(i64, usize)> {
        let (offset, bytes) = self.tracker.release(token)?;
        if kept != self.kept(offset) {
            self.kept.insert(offset, kept);
            self.dirty = true;
        }
        Some((offset, bytes))
    }

    /// Since when its window is full.
    pub(super) fn full(&mut self, bound: Amount, now: Instant) -> Option<Instant> {
        let used = Amount {
            messages: self.tracker.span(),
            bytes: self.tracker.bytes(),
        };
        self.gate.look(used, bound, now)
    }

    pub(super) fn may_resume(&self, now: Instant) -> bool {
        self.resumed_at.is_none_or(|at| now >= at + RESUME_EVERY)
    }

    pub(super) fn resume(&mut self, now: Instant) {
        self.paused = false;
        self.resumed_at = Some(now);
    }

    /// The offset the client brings next, as far as it is known.
    pub(super) fn next(&self) -> Option<i64> {
        self.tracker.end().or(self.saved)
    }

    pub(super) fn unsaved(&self) -> Unsaved {
        match self.tracker.watermark() {
            None => Unsaved::No,
            Some(_) if self.is_doubtful() => Unsaved::No,
            Some(mark)
                if self.caution > 0 && self.tracker.in_hand() == 0 && self.sure != Some(mark) =>
            {
                Unsaved::Cautious
            }
            // A text that is new is committed where it can be seen whether the server takes it.
            Some(_) if self.dirty => Unsaved::Still,
            Some(mark) if self.saved.is_none_or(|saved| mark > saved) => Unsaved::Moved,
            Some(mark) if self.saved != Some(mark) => Unsaved::Still,
            Some(_) => Unsaved::No,
        }
    }

    /// Whether the watermark has passed so many messages since the last commit that it does not wait for the client's own.
    pub(super) fn is_far(&self) -> bool {
        self.passed >= COMMIT_AFTER
    }

    /// The position, taken as committed.
    pub(super) fn send(&mut self, most: usize) -> Option<Position> {
        self.passed = 0;
        self.save(most)
    }

    /// The position, taken as told.
    pub(super) fn save(&mut self, most: usize) -> Option<Position> {
        let position = self.position(false, most)?;
        self.saved = Some(position.offset);
        self.dirty = false;
        Some(position)
    }

    /// What is to be committed of it; `None` where nothing is known, and where its topic is missing: made again, another one
    /// would begin at the offset of this one. Where it is left in order, without a word of who
    /// began there.
    pub(super) fn position(&self, stopping: bool, most: usize) -> Option<Position> {
        if self.is_doubtful() {
            return None;
        }
        let in_order = stopping || self.leaving;
        let unread = self.saved.filter(|at| in_order && *at != i64::MAX);
        let offset = self.tracker.watermark().or(unread)?;
        Some(self.at(offset, in_order, most))
    }

    /// What is committed when it becomes ours, so that the next owner can tell how this one ended. A cautious one says
    /// it when it hands out the first message.
    pub(super) fn first(&self, most: usize) -> Option<Position> {
        let sure = self.caution == 0 && !self.unproven;
        let at = self.saved.filter(|_| sure)?;
        Some(self.at(at, false, most))
    }

    fn at(&self, offset: i64, in_order: bool, most: usize) -> Position {
        let kept = self.kept.range(offset..).filter(|(_, k)| k.attempts > 0);
        // Written by whoever leaves; while messages flow, each commit would be longer for it.
        let mut settled = match in_order {
            true => self.tracker.settled(),
            false => Vec::new(),
        };
        let next = self.tracker.end().unwrap_or(offset);
        let later = self.settled.iter().filter(|(_, last)| *last >= next);
        settled.extend(later.map(|(first, last)| (*first.max(&next), *last)));
        let begun = match self.begun {
            _ if in_order => 0,
            (Some(at), count) if at == offset => count,
            _ => 1,
        };
        Position {
            place: self.place.clone(),
            offset,
            metadata: metadata::write(begun, &settled, kept, most),
        }
    }
}
