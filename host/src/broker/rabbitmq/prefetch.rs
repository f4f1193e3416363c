//! How many messages the server may have delivered and not settled, per consumer.
//!
//! The server knows a bound in messages and none in bytes, so a bound in bytes is kept by the size messages have had so
//! far. Until a few were seen little is asked for. A consumer's prefetch cannot be changed: another one has to stand
//! beside it or take its place, so small differences are let be.
//!
//! Where an order is promised another consumer may be that of another host. So it begins with the whole window, and only
//! where that turns out to be too much it begins again ([`subscription`](super::subscription), rewinding).

/// Asked for while it is not known how large messages are.
pub(super) const FIRST: usize = 32;
/// So many make it known.
const ENOUGH: u32 = 16;

/// How large messages were.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sizes {
    seen: u32,
    average: f64,
}

impl Sizes {
    /// One more; `bytes` as it is accounted with.
    pub(super) fn saw(&mut self, bytes: usize) {
        self.seen = self.seen.saturating_add(1);
        // The first ones count alike, later ones push the earliest out.
        let share = f64::from(self.seen.min(64));
        self.average += (bytes as f64 - self.average) / share;
    }

    /// Twice the window, so that the next ones are here when the window has room; where messages are large, as many as
    /// fill the window's bytes twice; at least one. `first` while it is not known how large they are.
    pub(super) fn wanted(&self, first: usize, window: usize, bytes: usize) -> u16 {
        let twice = window.saturating_mul(2);
        let fit = match self.seen {
            ENOUGH.. => (bytes as f64 * 2.0 / self.average.max(1.0)) as usize,
            _ => first,
        };
        u16::try_from(twice.min(fit).max(1)).unwrap_or(u16::MAX)
    }

    /// What to ask for instead of `now`, where it makes a difference.
    pub(super) fn better(&self, now: u16, window: usize, bytes: usize) -> Option<u16> {
        let wanted = self.wanted(usize::from(now), window, bytes);
        let (less, more) = (now.min(wanted), now.max(wanted));
        (more / 2 >= less).then_some(wanted)
    }
}

#[cfg(test)]
mod tests;
