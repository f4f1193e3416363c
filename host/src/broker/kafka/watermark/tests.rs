//! Against a model that knows everything: which offsets the log has, and which were settled.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const EPOCH: Epoch = Epoch(7);

fn tracker(offsets: &[i64]) -> Tracker {
    let mut tracker = Tracker::new(EPOCH);
    for offset in offsets {
        assert_eq!(tracker.received(*offset, 1), Received::New);
    }
    tracker
}

#[test]
fn the_watermark_is_the_first_unsettled_offset() {
    let mut t = tracker(&[10, 11, 15, 16]);
    let tokens: Vec<Token> = [10, 11, 15, 16].map(|o| t.hand_out(o).unwrap()).into();
    assert_eq!(t.watermark(), Some(10));
    t.complete(tokens[1]).unwrap();
    assert_eq!(t.watermark(), Some(10));
    t.complete(tokens[0]).unwrap();
    assert_eq!(t.watermark(), Some(15), "a gap is not committed into");
    t.complete(tokens[3]).unwrap();
    t.complete(tokens[2]).unwrap();
    assert_eq!(t.watermark(), Some(17));
    assert_eq!((t.span(), t.bytes(), t.in_hand()), (0, 0, 0));
}

#[test]
fn what_waits_is_not_settled() {
    let mut t = tracker(&[0, 1]);
    let token = t.hand_out(1).unwrap();
    t.complete(token).unwrap();
    assert_eq!(t.watermark(), Some(0));
}

#[test]
fn a_token_ends_once_and_only_in_its_epoch() {
    let mut t = tracker(&[3]);
    let token = t.hand_out(3).unwrap();
    assert_eq!(t.hand_out(3), None, "handed out twice");
    let mut other = Tracker::new(Epoch(8));
    other.received(3, 1);
    other.hand_out(3);
    assert_eq!(other.complete(token), None);
    assert_eq!(t.complete(token), Some(3));
    assert_eq!(t.complete(token), None);
}

#[test]
fn an_old_token_does_not_settle_a_later_delivery_of_its_message() {
    let mut t = tracker(&[3]);
    let first = t.hand_out(3).unwrap();
    t.release(first).unwrap();
    assert_eq!(t.rewind(), Some(3));
    assert_eq!(t.received(3, 1), Received::New);
    let second = t.hand_out(3).unwrap();
    assert_ne!(first, second);
    assert_eq!(t.complete(first), None);
    assert_eq!(t.complete(second), Some(3));
}

#[test]
fn a_message_forgotten_while_it_waits_again_gets_another_token_all_the_same() {
    let mut t = tracker(&[1, 2]);
    let tokens = [1, 2].map(|o| t.hand_out(o).unwrap());
    t.release(tokens[1]).unwrap();
    t.rewind();
    assert_eq!(t.received(2, 1), Received::New);
    // It waits, and the one before it is released.
    t.release(tokens[0]).unwrap();
    t.forget_waiting(1);
    t.rewind();
    assert_eq!(t.received(1, 1), Received::New);
    assert_eq!(t.received(2, 1), Received::New);
    assert_ne!(t.hand_out(2), Some(tokens[1]));
}

#[test]
fn offsets_that_share_their_lower_half_are_told_apart_by_what_is_settled() {
    let high = 1_i64 << 32;
    let mut t = tracker(&[5]);
    let low = t.hand_out(5).unwrap();
    t.complete(low).unwrap();
    t.received(high + 5, 1);
    let token = t.hand_out(high + 5).unwrap();
    assert_eq!(t.complete(token), Some(high + 5));
    assert_eq!(t.watermark(), Some(high + 6));
}

#[test]
fn after_going_back_only_the_released_come_again() {
    let mut t = tracker(&[1, 2, 3, 4]);
    let tokens: Vec<Token> = [1, 2, 3].map(|o| t.hand_out(o).unwrap()).into();
    t.complete(tokens[2]).unwrap();
    t.release(tokens[1]).unwrap();
    assert!(t.must_rewind());
    assert_eq!(t.received(5, 1), Received::Known, "read before going back");
    t.forget_waiting(2);
    assert_eq!(t.rewind(), Some(2));
    assert!(!t.must_rewind());
    assert_eq!(t.received(2, 1), Received::New);
    assert_eq!(t.received(3, 1), Received::Known, "settled");
    assert_eq!(t.received(4, 1), Received::New, "forgotten");
    assert_eq!(t.watermark(), Some(1), "still in hand");
    t.complete(tokens[0]).unwrap();
    assert_eq!(t.watermark(), Some(2));
}

#[test]
fn a_message_under_way_while_going_back_is_not_taken_for_a_gap() {
    let mut t = tracker(&[1, 2]);
    let token = t.hand_out(1).unwrap();
    t.release(token).unwrap();
    t.forget_waiting(1);
    t.rewind();
    for under_way in [3, 4, 5, 6, 7] {
        assert_eq!(t.received(under_way, 1), Received::Known);
    }
    assert!(t.doubts());
    assert_eq!(t.rewind_again(), Some(1));
    assert!(!t.doubts());
    assert_eq!(t.received(1, 1), Received::New);
    assert_eq!(t.gone(), 0);
}

#[test]
fn an_order_to_go_back_that_failed_is_given_again() {
    let mut t = tracker(&[1, 2]);
    t.doubt();
    assert!(!t.doubts(), "nothing was ordered");
    let token = t.hand_out(1).unwrap();
    t.release(token).unwrap();
    t.rewind();
    t.doubt();
    assert_eq!(t.rewind_again(), Some(1));
    assert_eq!(t.rewind_again(), None);
}

#[test]
fn a_released_message_the_log_lost_is_given_up_after_all() {
    let mut t = tracker(&[1, 2]);
    let tokens = [1, 2].map(|o| t.hand_out(o).unwrap());
    t.release(tokens[0]).unwrap();
    t.complete(tokens[1]).unwrap();
    t.rewind();
    for _ in 1..Tracker::TELLINGS {
        assert_eq!(t.received(3, 1), Received::Known);
        assert_eq!(t.rewind_again(), Some(1));
    }
    assert_eq!(t.received(3, 1), Received::New);
    assert_eq!((t.gone(), t.watermark()), (1, Some(3)));
}

#[test]
fn a_released_message_compacted_away_is_given_up_when_its_neighbour_comes() {
    let mut t = tracker(&[1, 2]);
    let tokens = [1, 2].map(|o| t.hand_out(o).unwrap());
    t.release(tokens[0]).unwrap();
    t.complete(tokens[1]).unwrap();
    t.rewind();
    assert_eq!(t.received(2, 1), Received::Known);
    assert_eq!((t.gone(), t.watermark()), (1, Some(3)));
}

#[test]
fn a_log_that_begins_again_is_recognised() {
    let mut t = tracker(&[100, 101]);
    assert_eq!(t.received(0, 1), Received::Restarted);
    assert_eq!(t.received(101, 1), Received::Restarted);
    assert_eq!(t.watermark(), Some(100), "nothing was changed by it");
}

#[test]
fn what_is_forgotten_at_a_stop_is_not_committed() {
    let mut t = tracker(&[1, 2, 3]);
    let token = t.hand_out(1).unwrap();
    t.complete(token).unwrap();
    t.forget_waiting(0);
    assert_eq!(t.watermark(), Some(2));
    assert_eq!(t.span(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    /// Read the next of the log.
    Read,
    HandOut,
    Complete(prop::sample::Index),
    Release(prop::sample::Index),
    Rewind,
    Stale(prop::sample::Index),
    /// A released message disappears from the log.
    Vanish(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Read),
        6 => Just(Step::HandOut),
        5 => any::<prop::sample::Index>().prop_map(Step::Complete),
        2 => any::<prop::sample::Index>().prop_map(Step::Release),
        2 => Just(Step::Rewind),
        1 => any::<prop::sample::Index>().prop_map(Step::Stale),
        1 => any::<prop::sample::Index>().prop_map(Step::Vanish),
    ]
}

/// The partition, and the truth about its messages.
struct World {
    log: BTreeSet<i64>,
    position: i64,
    waiting: BTreeSet<i64>,
    in_hand: BTreeMap<i64, Token>,
    ended: Vec<Token>,
    settled: BTreeSet<i64>,
    lost: BTreeSet<i64>,
    received: BTreeSet<i64>,
}

impl World {
    fn check(&self, t: &Tracker, before: Option<i64>) {
        let mark = t.watermark();
        let unsettled = self
            .received
            .iter()
            .find(|o| !self.settled.contains(o) && !self.lost.contains(o));
        if let (Some(mark), Some(first)) = (mark, unsettled) {
            assert!(mark <= *first, "committed {mark} past unsettled {first}");
        }
        assert!(mark >= before, "went back from {before:?} to {mark:?}");
        assert_eq!(t.in_hand(), self.in_hand.len());
        assert!(t.span() >= t.in_hand());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn in_any_order_nothing_is_lost_or_settled_twice(
        log in prop::collection::btree_set(0..120_i64, 1..60),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut t = Tracker::new(EPOCH);
        let mut w = World {
            log, position: 0, waiting: BTreeSet::new(), in_hand: BTreeMap::new(), ended: vec![],
            settled: BTreeSet::new(), lost: BTreeSet::new(), received: BTreeSet::new(),
        };
        for step in steps {
            run(&mut t, &mut w, step);
        }
        // Then everything is brought to its end.
        for _ in 0..2000 {
            run(&mut t, &mut w, Step::Rewind);
            run(&mut t, &mut w, Step::Read);
            run(&mut t, &mut w, Step::HandOut);
            if let Some(offset) = w.in_hand.keys().next().copied() {
                finish(&mut t, &mut w, offset);
            }
            if w.log.iter().all(|o| w.settled.contains(o)) && t.span() == 0 {
                break;
            }
        }
        prop_assert!(w.log.iter().all(|o| w.settled.contains(o)), "not all came");
        if w.lost.is_empty() {
            prop_assert_eq!(t.span(), 0);
            prop_assert_eq!(t.gone(), 0);
            prop_assert_eq!(t.watermark(), w.log.last().map(|o| o + 1));
        }
    }
}

fn finish(t: &mut Tracker, w: &mut World, offset: i64) {
    let token = w.in_hand.remove(&offset).unwrap();
    assert_eq!(t.complete(token), Some(offset));
    assert!(
        w.settled.insert(offset),
        "{offset} was handed out after it was settled"
    );
    w.ended.push(token);
}

fn run(t: &mut Tracker, w: &mut World, step: Step) {
    let before = t.watermark();
    match step {
        Step::Read => {
            let Some(offset) = w.log.range(w.position..).next().copied() else {
                return;
            };
            w.position = offset + 1;
            let known = w.settled.contains(&offset) || w.in_hand.contains_key(&offset);
            match t.received(offset, 1) {
                Received::New => {
                    assert!(!known, "{offset} delivered although it is known");
                    w.received.insert(offset);
                    w.waiting.insert(offset);
                }
                Received::Known => {}
                Received::Restarted => panic!("the log did not begin again"),
            }
        }
        Step::HandOut => {
            if let Some(offset) = w.waiting.pop_first() {
                w.in_hand.insert(offset, t.hand_out(offset).unwrap());
            }
        }
        Step::Complete(index) => {
            if let Some(offset) = pick(w.in_hand.keys(), index) {
                finish(t, w, offset);
            }
        }
        Step::Release(index) => {
            if let Some(offset) = pick(w.in_hand.keys(), index) {
                let token = w.in_hand.remove(&offset).unwrap();
                assert_eq!(t.release(token), Some(offset));
                w.ended.push(token);
                t.forget_waiting(offset);
                w.waiting.retain(|o| *o < offset);
            }
        }
        Step::Rewind => {
            if t.must_rewind() {
                w.position = t.rewind().unwrap();
            } else if let Some(to) = t.rewind_again() {
                w.position = to;
            }
        }
        Step::Stale(index) => {
            if let Some(token) = pick(w.ended.iter(), index) {
                assert_eq!(t.complete(token), None);
                assert_eq!(t.release(token), None);
            }
        }
        Step::Vanish(index) => {
            // One that has been read and has to be read again.
            let again = w.received.iter().filter(|o| {
                w.log.contains(o)
                    && !w.settled.contains(o)
                    && !w.in_hand.contains_key(o)
                    && !w.waiting.contains(o)
            });
            if let Some(offset) = pick(again, index) {
                w.log.remove(&offset);
                w.lost.insert(offset);
            }
        }
    }
    w.check(t, before);
}

fn pick<'a, T: Copy + 'a>(
    from: impl Iterator<Item = &'a T>,
    index: prop::sample::Index,
) -> Option<T> {
    let all: Vec<T> = from.copied().collect();
    (!all.is_empty()).then(|| all[index.index(all.len())])
}
