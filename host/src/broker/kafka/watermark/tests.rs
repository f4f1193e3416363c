//! Against a model that knows everything: which offsets the log has, and which were settled.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const EPOCH: Epoch = Epoch(7);

fn tracker(offsets: &[i64]) -> Tracker<i64> {
    let mut tracker = Tracker::new(EPOCH);
    for offset in offsets {
        assert_eq!(tracker.received(*offset, 1, *offset), Received::New);
    }
    tracker
}

fn hand_out(tracker: &mut Tracker<i64>, offset: i64) -> Token {
    let (token, message) = tracker.hand_out(offset).unwrap();
    assert_eq!(message, offset);
    token
}

#[test]
fn the_watermark_is_the_first_unsettled_offset() {
    let mut t = tracker(&[10, 11, 15, 16]);
    let tokens = [10, 11, 15, 16].map(|o| hand_out(&mut t, o));
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
    let token = hand_out(&mut t, 1);
    t.complete(token).unwrap();
    assert_eq!(t.watermark(), Some(0));
}

#[test]
fn a_token_ends_once_and_only_in_its_epoch() {
    let mut t = tracker(&[3]);
    let token = hand_out(&mut t, 3);
    assert_eq!(t.hand_out(3), None, "handed out twice");
    let mut other = Tracker::new(Epoch(8));
    other.received(3, 1, 3);
    hand_out(&mut other, 3);
    assert_eq!(other.complete(token), None);
    assert_eq!(t.complete(token), Some(3));
    assert_eq!(t.complete(token), None);
}

#[test]
fn a_released_message_is_handed_out_again_and_its_old_token_settles_nothing() {
    let mut t = tracker(&[3, 4]);
    let first = hand_out(&mut t, 3);
    assert_eq!(t.release(first), Some((3, 1)));
    assert_eq!(t.watermark(), Some(3));
    let second = hand_out(&mut t, 3);
    assert_ne!(first, second);
    assert_eq!((t.complete(first), t.release(first)), (None, None));
    assert_eq!(t.complete(second), Some(3));
    assert_eq!(t.watermark(), Some(4));
}

#[test]
fn offsets_that_share_their_lower_half_are_told_apart_by_what_is_settled() {
    let high = 1_i64 << 32;
    let mut t = tracker(&[5]);
    let low = hand_out(&mut t, 5);
    t.complete(low).unwrap();
    t.received(high + 5, 1, high + 5);
    let token = hand_out(&mut t, high + 5);
    assert_eq!(t.complete(token), Some(high + 5));
    assert_eq!(t.watermark(), Some(high + 6));
}

#[test]
fn a_log_that_begins_again_is_recognised() {
    let mut t = tracker(&[100, 101]);
    assert_eq!(t.received(0, 1, 0), Received::Restarted(0));
    assert_eq!(t.received(101, 1, 101), Received::Restarted(101));
    assert_eq!(t.watermark(), Some(100), "nothing was changed by it");
}

#[derive(Debug, Clone)]
enum Step {
    /// Read the next of the log.
    Read,
    HandOut(prop::sample::Index),
    Complete(prop::sample::Index),
    Release(prop::sample::Index),
    Stale(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<prop::sample::Index>;
    prop_oneof![
        6 => Just(Step::Read),
        6 => any().prop_map(Step::HandOut),
        5 => any().prop_map(Step::Complete),
        2 => any().prop_map(Step::Release),
        1 => any().prop_map(Step::Stale),
    ]
}

/// The partition, and the truth about its messages.
#[derive(Default)]
struct World {
    log: BTreeSet<i64>,
    position: i64,
    waiting: BTreeSet<i64>,
    in_hand: BTreeMap<i64, Token>,
    ended: Vec<Token>,
    settled: BTreeSet<i64>,
}

impl World {
    fn check(&self, t: &Tracker<i64>, before: Option<i64>) {
        let mark = t.watermark();
        let unsettled = self.log.iter().find(|o| !self.settled.contains(o));
        if let (Some(mark), Some(first)) = (mark, unsettled) {
            assert!(mark <= *first, "committed {mark} past unsettled {first}");
        }
        assert!(mark >= before, "went back from {before:?} to {mark:?}");
        assert_eq!(t.in_hand(), self.in_hand.len());
        assert!(t.span() >= t.in_hand() + self.waiting.len());
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
        let end = log.last().map(|o| o + 1);
        let mut w = World { log, ..World::default() };
        for step in steps {
            run(&mut t, &mut w, step);
        }
        // Then everything is brought to its end.
        while t.span() > 0 || w.settled.len() < w.log.len() {
            run(&mut t, &mut w, Step::Read);
            if let Some(offset) = w.waiting.pop_first() {
                w.in_hand.insert(offset, hand_out(&mut t, offset));
            }
            if let Some(offset) = w.in_hand.keys().next().copied() {
                finish(&mut t, &mut w, offset);
            }
        }
        prop_assert_eq!((t.span(), t.bytes(), t.watermark()), (0, 0, end));
    }
}

fn finish(t: &mut Tracker<i64>, w: &mut World, offset: i64) {
    let token = w.in_hand.remove(&offset).unwrap();
    assert_eq!(t.complete(token), Some(offset));
    assert!(
        w.settled.insert(offset),
        "{offset} was handed out after it was settled"
    );
    w.ended.push(token);
}

fn run(t: &mut Tracker<i64>, w: &mut World, step: Step) {
    let before = t.watermark();
    match step {
        Step::Read => {
            let Some(offset) = w.log.range(w.position..).next().copied() else {
                return;
            };
            w.position = offset + 1;
            assert_eq!(t.received(offset, 1, offset), Received::New);
            w.waiting.insert(offset);
        }
        Step::HandOut(index) => {
            if let Some(offset) = pick(w.waiting.iter(), index) {
                w.waiting.remove(&offset);
                w.in_hand.insert(offset, hand_out(t, offset));
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
                assert_eq!(t.release(token), Some((offset, 1)));
                w.ended.push(token);
                w.waiting.insert(offset);
            }
        }
        Step::Stale(index) => {
            if let Some(token) = pick(w.ended.iter(), index) {
                assert_eq!(t.complete(token), None);
                assert_eq!(t.release(token), None);
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
