//! What goes back to the broker: in time, with what it was charged, and not without need.

use wharf::delivery::Token;

use crate::broker::{Entry, Place, World};

impl World {
    /// The host says what is to become of a message.
    pub fn asks(&mut self, token: Token) {
        self.check_patience();
        if let Some(index) = self.owner(token) {
            self.entries[index].asked = true;
        }
    }

    /// It says so in vain. What is behind the message in its order can only be settled after it.
    pub fn asks_in_vain(&mut self, token: Token) {
        self.asks(token);
        let Some(index) = self.owner(token) else {
            return;
        };
        let key = self.order_key(index);
        for behind in index + 1..self.entries.len() {
            self.entries[behind].asked |= key.is_some() && self.order_key(behind) == key;
        }
    }

    /// 8: nothing that waits is in hand for longer than the broker's patience.
    pub fn check_patience(&mut self) {
        let Some(patience) = self.setup.patience else {
            return;
        };
        let now = self.now();
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            let waits = matches!(entry.place, Place::Owned(_)) && !entry.running && !entry.asked;
            if waits && now > entry.since + patience {
                let since = entry.since;
                self.wrong(format!(
                    "patience: m{index} has been in hand since {since:?}, and the broker waits {patience:?}"
                ));
                self.entries[index].asked = true;
            }
        }
    }

    /// Whether messages may be given back because the broker would not wait for them much longer.
    fn may_be_given_back(&mut self, index: usize) -> bool {
        let Some(patience) = self.setup.patience else {
            return false;
        };
        let now = self.now();
        let old = |e: &Entry| matches!(e.place, Place::Owned(_)) && now >= e.since + patience / 2;
        if !self.setup.ordered() {
            return old(&self.entries[index]);
        }
        // What is in hand beside an old one goes with it, whatever its own age, until something is read again and runs.
        if self.entries.iter().any(old) {
            self.going_back = Some(now);
        }
        self.going_back.is_some()
    }

    /// 5 when a message is released.
    pub fn check_release(&mut self, index: usize, attempts: u32) {
        let given_back = self.draining.is_none() && self.may_be_given_back(index);
        let entry = &self.entries[index];
        let (charged, loose, done) = (entry.charged, entry.loose, entry.done);
        // A drain discards what was decided but could not be published, and charges nothing for it.
        let discarded = (self.draining.is_some() || given_back) && attempts + 1 == charged;
        if attempts > charged || (!loose && attempts != charged && !done && !discarded) {
            self.wrong(format!(
                "m{index} is released with {attempts} attempts of {charged}"
            ));
        }
        if self.draining.is_none() && (self.setup.ordered() || !self.setup.delays) {
            self.seen.given_back += u64::from(given_back);
            if !given_back {
                self.wrong(format!("m{index} is released out of its turn"));
            }
        }
        // It is to be decided anew.
        self.entries[index].decided_in = None;
        if discarded {
            self.entries[index].charged = attempts;
        }
        if done {
            // Given back at the end of a drain because its outputs could not be published: it will run again.
            let entry = &mut self.entries[index];
            entry.may_repeat = true;
            entry.loose = true;
        }
    }
}
