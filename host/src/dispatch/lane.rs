//! Order: messages of one lane are handled one after the other, in the order they were read.
//!
//! A lane is a number, `hash(partition, key) % LANES`, so there are always the same few and a slow key blocks only
//! the keys it shares a lane with. Only subscriptions with an order promise have lanes; the others skip this file.
//!
//! A lane's next message is let go when the one before it has been *decided and committed to the inbox*, not when
//! the broker confirmed it: the committer works first in, first out, so effects keep the same order.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::Mutex;

use crate::config::Order;
use crate::message::Message;

/// Virtual lanes per subscription. Far more than any sensible number of instances, few enough to forget about.
pub(super) const LANES: u32 = 1024;

/// The lane of a message; `None` where it may run beside anything.
pub(super) fn lane_of(message: &Message, order: Order) -> Option<u32> {
    let mut hasher = DefaultHasher::new();
    match (order, &message.key) {
        (Order::None, _) | (Order::Key, None) => return None,
        (Order::Key, Some(key)) => (message.origin.partition, key).hash(&mut hasher),
        (Order::Source, _) => message.origin.partition.hash(&mut hasher),
    }
    Some((hasher.finish() % u64::from(LANES)) as u32)
}

/// The lane a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane {
    /// Which.
    pub(super) number: u32,
    /// How often the lanes had begun anew when it was read: a head of before has no say in what came since.
    pub(super) turn: u32,
}

/// What waits behind the running heads. `T` is a delivery in life.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    /// Lanes with a message in hand. The queue holds those behind it; together they never exceed the window.
    busy: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    lanes: BTreeMap<u32, VecDeque<T>>,
    /// Lanes whose last message was dead-lettered under `on_dead_letter: halt`: what is behind waits for `go_on`.
    halted: Vec<Lane>,
    /// A head was released out of turn: nothing newer may run until the source has read again from there.
    rewinding: bool,
    /// Goes up whenever that is over.
    turn: u32,
}

/// What to do with a message just read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted<T> {
    /// It is the head of its lane: run it.
    Run(T),
    /// It waits behind another.
    Waits,
    /// Something before it was released: release it too, unstarted.
    Release(T),
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            busy: Mutex::new(State {
                lanes: BTreeMap::new(),
                halted: Vec::new(),
                rewinding: false,
                turn: 0,
            }),
        }
    }
}

impl<T> Lanes<T> {
    /// How often they have begun anew. Changed by whoever admits, and by nobody else.
    pub(super) fn turn(&self) -> u32 {
        self.busy.lock().turn
    }

    /// Takes a message just read.
    pub(super) fn admit(&self, lane: u32, item: T) -> Admitted<T> {
        let mut state = self.busy.lock();
        if state.rewinding {
            return Admitted::Release(item);
        }
        match state.lanes.get_mut(&lane) {
            Some(behind) => {
                behind.push_back(item);
                Admitted::Waits
            }
            None => {
                state.lanes.insert(lane, VecDeque::new());
                Admitted::Run(item)
            }
        }
    }

    /// The head of `lane` is decided. Answers the next one to run.
    pub(super) fn complete(&self, lane: Lane) -> Option<T> {
        let mut state = self.busy.lock();
        if lane.turn != state.turn {
            return None;
        }
        let behind = state.lanes.get_mut(&lane.number);
        let next = behind.and_then(VecDeque::pop_front);
        if next.is_none() {
            state.lanes.remove(&lane.number);
        }
        next
    }

    /// The head of `lane` is decided, and what is behind it shall wait for [`go_on`](Self::go_on).
    pub(super) fn halt(&self, lane: Lane) {
        self.busy.lock().halted.push(lane);
    }

    /// Lets halted lanes go on. Answers the heads to run.
    pub(super) fn go_on(&self) -> Vec<T> {
        let halted = std::mem::take(&mut self.busy.lock().halted);
        halted
            .into_iter()
            .filter_map(|lane| self.complete(lane))
            .collect()
    }

    /// A message goes back to the broker undecided. Answers everything that waits, in all lanes: the source will read
    /// from there again, so all of it must go back, unstarted.
    #[must_use = "what waited has to be released"]
    pub(super) fn rewind(&self) -> Vec<T> {
        let mut state = self.busy.lock();
        state.rewinding = true;
        state.lanes.values_mut().flat_map(std::mem::take).collect()
    }

    /// Whether something that waits is so. All are asked.
    pub(super) fn any(&self, mut is_so: impl FnMut(&T) -> bool) -> bool {
        let state = self.busy.lock();
        let mut any = false;
        for one in state.lanes.values().flatten() {
            any |= is_so(one);
        }
        any
    }

    /// Drops everything that waits, which releases it. For the end of a drain.
    pub(super) fn clear(&self) {
        let waiting = std::mem::take(&mut self.busy.lock().lanes);
        drop(waiting);
    }

    /// Whether reading has to wait until nothing is in hand, see [`rewound`](Self::rewound).
    pub(super) fn rewinding(&self) -> bool {
        self.busy.lock().rewinding
    }

    /// Nothing is in hand any more: what is read from now on is in order again.
    pub(super) fn rewound(&self) {
        let mut state = self.busy.lock();
        state.rewinding = false;
        state.turn = state.turn.wrapping_add(1);
        // Their heads are gone.
        state.lanes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before they ever began anew.
    fn lane(number: u32) -> Lane {
        Lane { number, turn: 0 }
    }

    #[test]
    fn one_at_a_time_per_lane_in_order() {
        let lanes = Lanes::default();
        assert_eq!(lanes.admit(1, 'a'), Admitted::Run('a'));
        assert_eq!(lanes.admit(1, 'b'), Admitted::Waits);
        assert_eq!(lanes.admit(2, 'x'), Admitted::Run('x'), "other lanes go on");
        assert_eq!(lanes.admit(1, 'c'), Admitted::Waits);
        assert_eq!(lanes.complete(lane(1)), Some('b'));
        assert_eq!(lanes.admit(1, 'd'), Admitted::Waits, "b runs");
        assert_eq!(lanes.complete(lane(1)), Some('c'));
        assert_eq!(lanes.complete(lane(1)), Some('d'));
        assert_eq!(lanes.complete(lane(1)), None);
        assert_eq!(lanes.admit(1, 'e'), Admitted::Run('e'));
    }

    #[test]
    fn a_released_head_takes_everything_behind_it_along() {
        let lanes = Lanes::default();
        assert_eq!(lanes.admit(1, 'a'), Admitted::Run('a'));
        assert_eq!(lanes.admit(1, 'b'), Admitted::Waits);
        assert_eq!(lanes.admit(2, 'x'), Admitted::Run('x'));
        assert_eq!(lanes.admit(2, 'y'), Admitted::Waits);
        let mut released = lanes.rewind();
        released.sort_unstable();
        assert_eq!(released, ['b', 'y']);
        assert_eq!(
            lanes.admit(3, 'z'),
            Admitted::Release('z'),
            "nothing newer may overtake"
        );
        assert_eq!(lanes.complete(lane(2)), None, "x was running and may end");
        assert!(lanes.rewinding());
        lanes.rewound();
        assert_eq!(lanes.admit(1, 'a'), Admitted::Run('a'));
        assert_eq!(lanes.admit(1, 'b'), Admitted::Waits);
        assert_eq!(
            lanes.complete(lane(1)),
            None,
            "a head of before that is told late has no say"
        );
        let now = Lane { number: 1, turn: 1 };
        assert_eq!(lanes.turn(), 1);
        assert_eq!(lanes.complete(now), Some('b'));
    }

    #[test]
    fn all_that_waits_is_looked_at() {
        let lanes = Lanes::default();
        for item in ['a', 'b', 'c'] {
            let _head_or_not = lanes.admit(1, item);
        }
        let mut seen = Vec::new();
        assert!(lanes.any(|item| {
            seen.push(*item);
            *item == 'b'
        }));
        assert_eq!(seen, ['b', 'c'], "the head does not wait");
        assert!(!lanes.any(|item| *item == 'a'));
    }

    #[test]
    fn a_halted_lane_waits_and_goes_on_where_it_stopped() {
        let lanes = Lanes::default();
        assert_eq!(lanes.admit(1, 'a'), Admitted::Run('a'));
        assert_eq!(lanes.admit(1, 'b'), Admitted::Waits);
        lanes.halt(lane(1));
        assert_eq!(lanes.admit(1, 'c'), Admitted::Waits);
        assert_eq!(lanes.admit(2, 'x'), Admitted::Run('x'), "other lanes go on");
        assert_eq!(lanes.go_on(), ['b']);
        assert_eq!(lanes.complete(lane(1)), Some('c'));
        assert!(lanes.go_on().is_empty());
    }

    #[test]
    fn keys_share_a_lane_only_within_a_partition_and_keyless_messages_have_none() {
        let mut m = crate::message::Message::for_test("1");
        assert_eq!(lane_of(&m, Order::Key), None);
        assert_eq!(lane_of(&m, Order::None), None);
        assert!(lane_of(&m, Order::Source).is_some());
        m.key = Some(bytes::Bytes::from_static(b"k"));
        let same = lane_of(&m, Order::Key);
        assert_eq!(lane_of(&m.clone(), Order::Key), same);
        m.origin.partition = Some(1);
        assert_ne!(lane_of(&m, Order::Key), same);
    }
}
