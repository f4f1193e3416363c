//! Fair turns for guests that run long.
//!
//! A call is free until its first tick (one to two milliseconds). Past that it needs a turn, and at most workers − 1
//! turns (at least one) are out at a time, so that a fresh short call always finds a core. Turns go round robin
//! between *plugins*: a plugin with eight spinning calls gets no more of the machine than one with a single such
//! call. Who holds a turn gives it up at its next tick when somebody waits.
//!
//! [`Fair`] decides and knows nothing of time or tasks; [`Turns`] wakes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Numbers plugins in the order they were loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PluginId(pub(super) u32);

/// Names one waiting call.
type Ticket = u64;

/// Who runs and who waits.
///
/// `waiting` holds a queue per plugin that has waiters, never an empty one; `ring` holds exactly those plugins, the
/// next to be served first. Both are bounded by the calls in progress, and so by the instances.
#[derive(Debug)]
struct Fair {
    free: usize,
    waiting: BTreeMap<PluginId, VecDeque<Ticket>>,
    ring: VecDeque<PluginId>,
}

impl Fair {
    fn new(turns: usize) -> Self {
        Self {
            free: turns,
            waiting: BTreeMap::new(),
            ring: VecDeque::new(),
        }
    }

    /// Takes a turn if there is one and nobody waits for it.
    fn take(&mut self) -> bool {
        let granted = self.free > 0 && self.ring.is_empty();
        self.free -= usize::from(granted);
        granted
    }

    fn wait(&mut self, plugin: PluginId, ticket: Ticket) {
        let queue = self.waiting.entry(plugin).or_default();
        if queue.is_empty() {
            self.ring.push_back(plugin);
        }
        queue.push_back(ticket);
    }

    /// Gives a turn back and says who has it now.
    fn give(&mut self) -> Option<Ticket> {
        self.free += 1;
        self.next()
    }

    fn next(&mut self) -> Option<Ticket> {
        if self.free == 0 {
            return None;
        }
        let plugin = self.ring.pop_front()?;
        let queue = self.waiting.get_mut(&plugin)?;
        let ticket = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&plugin);
        } else {
            self.ring.push_back(plugin);
        }
        self.free -= usize::from(ticket.is_some());
        ticket
    }

    /// A waiter left. False when it was no longer waiting, that is, when it had been given a turn.
    fn leave(&mut self, plugin: PluginId, ticket: Ticket) -> bool {
        let Some(queue) = self.waiting.get_mut(&plugin) else {
            return false;
        };
        let before = queue.len();
        queue.retain(|waiting| *waiting != ticket);
        let left = queue.len() < before;
        if queue.is_empty() {
            self.waiting.remove(&plugin);
            self.ring.retain(|waiting| *waiting != plugin);
        }
        left
    }

    fn contended(&self) -> bool {
        !self.ring.is_empty()
    }
}

/// The turns of one engine. Locked only by calls past their first tick.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
}

/// `wake` holds the sender of every waiting ticket; a turn given is the sender used.
#[derive(Debug)]
struct State {
    fair: Fair,
    wake: BTreeMap<Ticket, oneshot::Sender<()>>,
    next: Ticket,
}

impl Turns {
    /// As many turns as leave one of `workers` free.
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                fair: Fair::new(workers.saturating_sub(1).max(1)),
                wake: BTreeMap::new(),
                next: 0,
            }),
        })
    }

    /// A turn, if one is free and nobody waits.
    pub(super) fn try_take(self: &Arc<Self>) -> Option<Turn> {
        let granted = self.state.lock().fair.take();
        granted.then(|| Turn(Arc::clone(self)))
    }

    /// Waits for a turn. Dropping the future leaves the queue.
    pub(super) async fn take(self: Arc<Self>, plugin: PluginId) -> Turn {
        let (place, granted) = {
            let mut state = self.state.lock();
            if state.fair.take() {
                drop(state);
                return Turn(self);
            }
            let ticket = state.next;
            state.next += 1;
            let (wake, granted) = oneshot::channel();
            state.wake.insert(ticket, wake);
            state.fair.wait(plugin, ticket);
            let turns = Arc::clone(&self);
            (
                Place {
                    turns,
                    plugin,
                    ticket,
                    held: true,
                },
                granted,
            )
        };
        let mut place = place;
        // The sender is dropped unused only together with the whole engine.
        if granted.await.is_err() {
            std::future::pending::<()>().await;
        }
        place.held = false;
        Turn(self)
    }

    /// Whether somebody waits for a turn.
    pub(super) fn contended(&self) -> bool {
        self.state.lock().fair.contended()
    }

    fn give(&self) {
        let mut state = self.state.lock();
        let mut next = state.fair.give();
        while let Some(ticket) = next {
            let taken = state
                .wake
                .remove(&ticket)
                .is_some_and(|wake| wake.send(()).is_ok());
            // Its future was dropped in this very moment: on to the next.
            next = if taken { None } else { state.fair.give() };
        }
    }
}

/// A place in the queue, left when dropped before a turn was given.
struct Place {
    turns: Arc<Turns>,
    plugin: PluginId,
    ticket: Ticket,
    held: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let left = {
            let mut state = self.turns.state.lock();
            state.wake.remove(&self.ticket);
            state.fair.leave(self.plugin, self.ticket)
        };
        if !left {
            // The turn was given while this was being dropped.
            self.turns.give();
        }
    }
}

/// The right to run past the first tick. Given back when dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.give();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PluginId = PluginId(1);
    const B: PluginId = PluginId(2);

    #[test]
    fn plugins_take_turns_however_many_calls_they_have() {
        let mut fair = Fair::new(1);
        assert!(fair.take());
        for ticket in 0..4 {
            fair.wait(A, ticket);
        }
        fair.wait(B, 10);
        fair.wait(B, 11);
        let order: Vec<_> = std::iter::from_fn(|| fair.give()).collect();
        assert_eq!(order, [0, 10, 1, 11, 2, 3]);
    }

    #[test]
    fn a_turn_is_not_taken_past_a_waiter() {
        let mut fair = Fair::new(2);
        assert!(fair.take() && fair.take() && !fair.take());
        fair.wait(A, 0);
        assert_eq!(fair.give(), Some(0), "handed over, not freed");
        assert!(!fair.take());
        assert_eq!(fair.give(), None);
        assert!(fair.take());
    }

    #[test]
    fn who_leaves_is_not_served() {
        let mut fair = Fair::new(1);
        assert!(fair.take());
        fair.wait(A, 0);
        fair.wait(B, 1);
        assert!(fair.leave(A, 0));
        assert!(!fair.leave(A, 0));
        assert_eq!(fair.give(), Some(1));
        assert!(!fair.contended());
    }

    #[tokio::test]
    async fn a_dropped_waiter_passes_the_turn_on() {
        let turns = Turns::new(2);
        let first = turns.try_take().expect("free");
        assert!(turns.try_take().is_none());
        let mut gone = Box::pin(Arc::clone(&turns).take(A));
        assert!(futures_util::poll!(&mut gone).is_pending());
        let mut waits = Box::pin(Arc::clone(&turns).take(B));
        assert!(futures_util::poll!(&mut waits).is_pending());
        drop(first); // given to `gone`, which never looks
        drop(gone);
        let second = waits.await;
        assert!(!turns.contended());
        drop(second);
        assert!(turns.try_take().is_some());
    }
}
