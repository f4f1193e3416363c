//! One partition that is ours.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::super::metadata::{self, Kept};
use super::super::watermark::{Epoch, Tracker};
use super::{Amount, Place, Position, RESUME_EVERY, SEEK_EVERY};
use crate::delivery::Token;

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
    /// Other attempts at the same offset, or an offset before the last one: the client would not commit it by itself.
    Still,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) tracker: Tracker,
    /// Attempts of messages that are not settled, those not received yet included.
    kept: BTreeMap<i64, Kept>,
    /// It will be taken away.
    pub(super) leaving: bool,
    pub(super) paused: bool,
    resumed_at: Option<Instant>,
    gate: Gate,
    /// Not to be read again before this, once something was released.
    due: Option<Instant>,
    /// When it was told to go back.
    told_at: Option<Instant>,
    /// What the client was told last, or found when the partition became ours.
    saved: Option<i64>,
    /// Something has to be committed although the offset is the same.
    pub(super) dirty: bool,
}

impl Slot {
    /// Paused, so that it is resumed: the client remembers pauses over rebalances.
    pub(super) fn new(place: Place, committed: Option<(i64, &str)>) -> Self {
        let (saved, kept) = match committed {
            Some((offset, text)) => {
                let mut kept = metadata::read(text);
                (Some(offset), kept.split_off(&offset))
            }
            None => (None, BTreeMap::new()),
        };
        Self {
            place,
            tracker: Tracker::new(Epoch(0)),
            kept,
            leaving: false,
            paused: true,
            resumed_at: None,
            gate: Gate::default(),
            due: None,
            told_at: None,
            saved,
            dirty: false,
        }
    }

    /// The same partition, of which nothing is known any more.
    pub(super) fn anew(&self) -> Self {
        Self {
            paused: self.paused,
            resumed_at: self.resumed_at,
            // Whatever is committed next lies before it.
            saved: self.saved.or(Some(i64::MAX)),
            ..Self::new(self.place.clone(), None)
        }
    }

    pub(super) fn begin(&mut self, epoch: Epoch) {
        self.tracker = Tracker::new(epoch);
    }

    /// What is known of attempts of a message.
    pub(super) fn kept(&self, offset: i64) -> Kept {
        self.kept.get(&offset).copied().unwrap_or_default()
    }

    pub(super) fn accept(&mut self, token: Token) -> Option<()> {
        let offset = self.tracker.complete(token)?;
        if !self.kept.is_empty() {
            self.kept.remove(&offset);
            if let Some(mark) = self.tracker.watermark() {
                self.kept = self.kept.split_off(&mark);
            }
        }
        Some(())
    }

    pub(super) fn release(&mut self, token: Token, kept: Kept, due: Instant) -> Option<i64> {
        let offset = self.tracker.release(token)?;
        if kept != self.kept(offset) {
            self.kept.insert(offset, kept);
            self.dirty = true;
        }
        self.due = self.due.max(Some(due));
        Some(offset)
    }

    /// Where the client has to go back to, if it has to.
    pub(super) fn seek(&mut self, now: Instant) -> Option<i64> {
        if self.leaving {
            return None;
        }
        let to = if self.tracker.must_rewind() {
            if self.due.is_some_and(|due| due > now) {
                return None;
            }
            self.due = None;
            self.tracker.rewind()
        } else if self.tracker.doubts() && self.told_at.is_none_or(|at| now >= at + SEEK_EVERY) {
            self.tracker.rewind_again()
        } else {
            None
        };
        if to.is_some() {
            self.told_at = Some(now);
        }
        to
    }

    /// Since when its window is full. Not while something has to be read again: that has its place in the window already,
    /// and a paused partition would never be done with it.
    pub(super) fn full(&mut self, bound: Amount, now: Instant) -> Option<Instant> {
        if self.tracker.released() > 0 {
            self.gate = Gate::default();
            return None;
        }
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

    pub(super) fn unsaved(&self) -> Unsaved {
        match self.tracker.watermark() {
            None => Unsaved::No,
            Some(mark) if self.saved.is_none_or(|saved| mark > saved) => Unsaved::Moved,
            Some(mark) if self.saved != Some(mark) || self.dirty => Unsaved::Still,
            Some(_) => Unsaved::No,
        }
    }

    /// The position, taken as told.
    pub(super) fn save(&mut self) -> Option<Position> {
        let position = self.position()?;
        self.saved = Some(position.offset);
        self.dirty = false;
        Some(position)
    }

    /// What is to be committed of it. `None` until the first message.
    pub(super) fn position(&self) -> Option<Position> {
        let offset = self.tracker.watermark()?;
        let kept = self.kept.range(offset..).filter(|(_, k)| k.attempts > 0);
        Some(Position {
            place: self.place.clone(),
            offset,
            metadata: metadata::write(kept, metadata::MOST),
        })
    }
}
