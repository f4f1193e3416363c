//! What is committed, and when.

use tokio::time::Instant;

use super::slot::Unsaved;
use super::{Action, COMMIT_EVERY, Control, Flushed, Position, STORE_EVERY};

impl<M: Clone> Control<M> {
    /// Hands positions and attempts to the client.
    pub(super) fn saving(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.stopping {
            actions.extend(self.flush());
            return;
        }
        let due = |at: Option<Instant>, every| at.is_none_or(|at| now >= at + every);
        let store = due(self.stored_at, STORE_EVERY);
        let commit = due(self.committed_at, COMMIT_EVERY);
        let (mut moved, mut far, mut still) = (Vec::new(), Vec::new(), Vec::new());
        for slot in self.slots.values_mut() {
            match slot.unsaved() {
                Unsaved::Cautious if commit => {
                    actions.extend(slot.save(self.most).map(Action::Begin));
                }
                Unsaved::Moved | Unsaved::Still if slot.is_far() && !self.sending => {
                    far.extend(slot.send(self.most));
                }
                Unsaved::Moved if store => moved.extend(slot.save(self.most)),
                Unsaved::Still if commit => still.extend(slot.send(self.most)),
                _ => {}
            }
        }
        if !moved.is_empty() {
            self.stored_at = Some(now);
            actions.push(Action::Store(moved));
        }
        if !far.is_empty() {
            self.sending = true;
            actions.push(Action::Send(far));
        }
        if !still.is_empty() {
            self.committed_at = Some(now);
            actions.push(Action::Commit(still));
        }
    }

    /// Commits what was settled since the last flush, once nothing more is fetched: whoever settled it waits for that.
    pub(in crate::broker::kafka) fn flush(&mut self) -> Option<Action> {
        if !self.stopping || self.flushing >= self.settled {
            return None;
        }
        self.flushing = self.settled;
        let positions = self.positions(&self.places());
        Some(Action::Flush(positions, self.settled))
    }

    /// What of a cautious partition is handed out next was committed, or not.
    pub(in crate::broker::kafka) fn began(
        &mut self,
        position: &Position,
        committed: bool,
        now: Instant,
    ) {
        let epoch = self.epoch(&position.place.topic, position.place.partition);
        if let Some(slot) = epoch.and_then(|e| self.slots.get_mut(&e)) {
            if committed {
                slot.sure = Some(position.offset);
            } else {
                // Not again at once.
                self.committed_at = Some(now);
            }
        }
    }

    /// What was sent was committed, or not: the next may be sent.
    pub(in crate::broker::kafka) fn answered(&mut self, positions: &[Position], committed: bool) {
        self.sending = false;
        if !committed {
            self.not_committed(positions);
        }
    }

    /// A commit did not succeed: it is tried again.
    pub(in crate::broker::kafka) fn not_committed(&mut self, positions: &[Position]) {
        for position in positions {
            let epoch = self.epoch(&position.place.topic, position.place.partition);
            if let Some(slot) = epoch.and_then(|e| self.slots.get_mut(&e)) {
                slot.dirty = true;
            }
        }
    }

    /// The server takes no text of this length beside an offset: shorter ones from now on, at last none.
    pub(in crate::broker::kafka) fn text_refused(&mut self) {
        self.most = if self.most < 64 { 0 } else { self.most / 4 };
        for slot in self.slots.values_mut() {
            slot.dirty = true;
        }
    }

    /// A flush ended, well or not. One that failed is tried at the next turn.
    pub(in crate::broker::kafka) fn flushed(&mut self, upto: Flushed, confirmed: bool) {
        if confirmed {
            self.flushed = self.flushed.max(upto);
        } else {
            self.flushing = self.flushed;
        }
    }

    /// Up to where settlements have been made.
    pub(in crate::broker::kafka) fn settled(&self) -> Flushed {
        self.settled
    }

    /// Whether what was settled up to there is committed for sure. Without a stop nobody has to wait for it.
    pub(in crate::broker::kafka) fn is_flushed(&self, upto: Flushed) -> bool {
        !self.stopping || self.flushed >= upto
    }
}
