//! Against a client and a broker that keep to the rules, with everything that may go wrong in between.

use std::collections::{BTreeMap, BTreeSet};

use super::slot::COMMIT_AFTER;
use super::*;

mod model;
mod owners;

const TOPIC: &str = "orders";

fn place(partition: i32) -> Place {
    Place {
        topic: TOPIC.into(),
        partition,
    }
}

fn amount(messages: usize) -> Amount {
    Amount {
        messages,
        bytes: 1 << 30,
    }
}

fn control(buffer: usize, window: usize) -> Control<i64> {
    Control::new(
        Bounds {
            buffer: amount(buffer),
            window: amount(window),
        },
        false,
    )
}

/// One partition, assigned and resumed.
fn assigned(buffer: usize, window: usize, now: Instant) -> Control<i64> {
    let mut control = control(buffer, window);
    control.assigned(&place(0), Some((0, "")));
    assert_eq!(
        control.turn(now),
        (vec![Action::Resume(vec![place(0)])], Next::Poll)
    );
    control
}

fn receive(control: &mut Control<i64>, offsets: impl IntoIterator<Item = i64>) {
    for offset in offsets {
        control.message(TOPIC, 0, offset, 1, offset);
    }
}

fn room(messages: usize) -> Room {
    Room {
        messages,
        bytes: usize::MAX,
    }
}

fn released(attempts: u32) -> Settlement {
    Settlement::Release {
        after: None,
        attempts,
        first_failed_ms: (attempts > 0).then_some(1_000),
    }
}

/// A position while the partition is ours, with what else stands beside it.
fn at(position: i64, metadata: &str) -> Position {
    left(position, format!("wharf1 ~1 {metadata}").trim())
}

/// A position of a partition that is left in order.
fn left(position: i64, metadata: &str) -> Position {
    Position {
        place: place(0),
        offset: position,
        metadata: metadata.to_owned(),
    }
}

fn messages(handed: Vec<Handed<i64>>) -> Vec<i64> {
    handed.into_iter().map(|h| h.message).collect()
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_buffer_that_drains_is_waited_for_and_one_that_does_not_is_paused() {
    let t0 = Instant::now();
    let mut c = assigned(4, 100, t0);
    receive(&mut c, 0..4);
    assert_eq!(c.turn(t0), (vec![], Next::Wait(ms(500))));
    c.fetch(room(1));
    assert_eq!(
        c.turn(t0 + ms(400)),
        (vec![], Next::Wait(ms(100))),
        "above half"
    );
    c.fetch(room(1));
    assert_eq!(c.turn(t0 + ms(499)), (vec![], Next::Poll), "half");
    receive(&mut c, 4..6);
    assert_eq!(c.turn(t0 + ms(500)).1, Next::Wait(ms(500)), "counted anew");
    let (actions, next) = c.turn(t0 + ms(1000));
    assert_eq!(actions, [Action::Pause(vec![place(0)])]);
    assert_eq!(next, Next::Poll, "a paused client may be asked");
}

#[test]
fn a_paused_partition_goes_on_at_half_and_at_most_once_a_second() {
    let t0 = Instant::now();
    let mut c = assigned(100, 4, t0);
    receive(&mut c, 0..4);
    let tokens: Vec<Token> = c.fetch(room(4)).into_iter().map(|h| h.token).collect();
    assert_eq!(c.turn(t0).1, Next::Wait(ms(100)));
    assert_eq!(c.turn(t0 + ms(100)).0, [Action::Pause(vec![place(0)])]);
    let resumed = |actions: &[Action]| actions.contains(&Action::Resume(vec![place(0)]));
    c.settle(tokens[0], Settlement::Accept, t0).unwrap();
    assert!(!resumed(&c.turn(t0 + ms(1000)).0), "above half");
    c.settle(tokens[1], Settlement::Accept, t0).unwrap();
    let t1 = t0 + ms(1001);
    assert!(resumed(&c.turn(t1).0));
    receive(&mut c, 4..6);
    c.turn(t1);
    let (actions, _) = c.turn(t1 + ms(100));
    assert!(actions.contains(&Action::Pause(vec![place(0)])));
    for token in &tokens[2..] {
        c.settle(*token, Settlement::Accept, t0).unwrap();
    }
    assert!(!resumed(&c.turn(t1 + ms(999)).0), "a second is not over");
    assert!(resumed(&c.turn(t1 + ms(1000)).0));
}

#[test]
fn a_full_window_is_that_of_its_partition_alone() {
    let t0 = Instant::now();
    let mut c = assigned(100, 2, t0);
    c.assigned(&place(1), Some((0, "")));
    c.turn(t0);
    receive(&mut c, 0..2);
    c.turn(t0);
    assert_eq!(c.turn(t0 + ms(100)).0, [Action::Pause(vec![place(0)])]);
}

#[test]
fn large_messages_fill_it_too() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    c.message(TOPIC, 0, 0, 1 << 30, 0);
    assert!(matches!(c.turn(t0).1, Next::Wait(_)));
}

#[test]
fn a_fetch_keeps_to_its_room_but_for_one_large_message() {
    let mut c = assigned(100, 100, Instant::now());
    for (offset, bytes) in [(0, 10), (1, 10), (2, 500)] {
        c.message(TOPIC, 0, offset, bytes, offset);
    }
    let small = Room {
        messages: 9,
        bytes: 15,
    };
    assert_eq!(messages(c.fetch(small)), [0, 1]);
    assert_eq!(messages(c.fetch(small)), [2]);
}

#[test]
fn positions_go_to_the_client_now_and_then() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, [7, 9]);
    let handed = c.fetch(room(9));
    c.settle(handed[0].token, Settlement::Accept, t0).unwrap();
    assert_eq!(c.turn(t0).0, [Action::Store(vec![at(9, "")])]);
    c.settle(handed[1].token, Settlement::Accept, t0).unwrap();
    assert_eq!(c.turn(t0 + ms(99)).0, []);
    assert_eq!(c.turn(t0 + ms(100)).0, [Action::Store(vec![at(10, "")])]);
    assert_eq!(c.turn(t0 + ms(900)).0, [], "nothing new");
}

#[test]
fn many_that_are_settled_are_committed_at_once() {
    let t0 = Instant::now();
    let mut c = assigned(1000, 1000, t0);
    let many = COMMIT_AFTER as i64;
    receive(&mut c, 0..many + 2);
    let mut handed = c.fetch(room(1000)).into_iter();
    let first = handed.next().unwrap();
    // Behind one that is not settled nothing may be committed.
    for one in handed.by_ref().take(COMMIT_AFTER - 1) {
        c.settle(one.token, Settlement::Accept, t0).unwrap();
    }
    assert_eq!(c.turn(t0).0, []);
    c.settle(first.token, Settlement::Accept, t0).unwrap();
    assert_eq!(c.turn(t0).0, [Action::Send(vec![at(many, "")])]);
    // From there on they are counted anew.
    for one in handed {
        c.settle(one.token, Settlement::Accept, t0).unwrap();
    }
    assert_eq!(c.turn(t0).0, [Action::Store(vec![at(many + 2, "")])]);
    // One at a time; where it failed the next makes up for it.
    receive(&mut c, many + 2..3 * many);
    for one in c.fetch(room(1000)) {
        c.settle(one.token, Settlement::Accept, t0).unwrap();
    }
    let last = vec![at(3 * many, "")];
    assert_eq!(c.turn(t0 + ms(99)).0, []);
    c.answered(&[at(many, "")], true);
    assert_eq!(c.turn(t0 + ms(99)).0, [Action::Send(last.clone())]);
    c.answered(&last, false);
    assert_eq!(c.turn(t0 + ms(99)).0, [Action::Commit(last)]);
}

#[test]
fn attempts_are_committed_while_the_watermark_stands_still() {
    let t0 = Instant::now();
    let mut c = control(100, 100);
    c.assigned(&place(0), Some((5, "")));
    c.turn(t0);
    receive(&mut c, [5, 6]);
    let handed = c.fetch(room(9));
    c.settle(handed[0].token, released(2), t0).unwrap();
    let position = at(5, "5:2@1000");
    assert_eq!(c.turn(t0).0, [Action::Commit(vec![position.clone()])]);
    assert_eq!(c.turn(t0 + ms(900)).0, [], "once");
    c.not_committed(std::slice::from_ref(&position));
    assert_eq!(c.turn(t0 + ms(1800)).0, [Action::Commit(vec![position])]);
}

#[test]
fn a_released_message_goes_before_what_is_newer_in_its_partition() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    c.assigned(&place(1), Some((50, "")));
    receive(&mut c, 0..2);
    c.message(TOPIC, 1, 50, 1, 50);
    receive(&mut c, 2..4);
    let handed = c.fetch(room(2));
    for one in handed.iter().rev() {
        c.settle(one.token, released(0), t0).unwrap();
    }
    assert_eq!(messages(c.fetch(room(9))), [50, 0, 1, 2, 3]);
    assert_eq!(
        c.turn(t0).0,
        [Action::Resume(vec![place(1)])],
        "no charge, no commit"
    );
}

#[test]
fn a_release_with_a_delay_waits_alone() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, 0..2);
    let handed = c.fetch(room(1));
    let later = Settlement::Release {
        after: Some(ms(300)),
        attempts: 0,
        first_failed_ms: None,
    };
    c.settle(handed[0].token, later, t0).unwrap();
    assert_eq!(messages(c.fetch(room(9))), [1], "what is behind it goes on");
    assert_eq!(c.pending(), 2);
    c.turn(t0 + ms(299));
    assert!(!c.is_ready());
    c.turn(t0 + ms(300));
    assert_eq!(messages(c.fetch(room(9))), [0]);
}

#[test]
fn what_is_released_while_its_partition_leaves_is_left_to_the_next() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, [0]);
    let handed = c.fetch(room(1));
    c.leaving(&[place(0)]);
    c.settle(handed[0].token, released(1), t0).unwrap();
    assert!(!c.is_ready());
    assert_eq!(c.revoked(&[place(0)]), [left(0, "wharf1 0:1@1000")]);
}

#[test]
fn a_topic_that_is_missing_waits_and_another_of_its_name_begins_anew() {
    let now = Instant::now();
    let mut control = assigned(100, 100, now);
    receive(&mut control, 0..5);
    let old = control.fetch(room(2));
    control.missing("Subscribed topic not available: other");
    assert_eq!(control.turn(now), (vec![], Next::Poll));
    control.missing("Subscribed topic not available: orders: Unknown");
    assert_eq!(control.topics(), [std::sync::Arc::from(TOPIC)]);
    assert_eq!(control.missing_places(), [place(0)]);
    assert!(control.flush().is_none() && control.positions(&[place(0)]).is_empty());
    let (actions, _) = control.turn(now);
    assert_eq!(actions, [Action::Pause(vec![place(0)])]);
    control.found(TOPIC, false);
    let later = now + RESUME_EVERY;
    let (actions, _) = control.turn(later);
    assert_eq!(actions, [Action::Resume(vec![place(0)])]);
    assert_eq!(messages(control.fetch(room(1))), [2], "it goes on");

    control.found(TOPIC, true);
    assert!(control.fetch(room(9)).is_empty(), "those are no more");
    let gone = control.settle(old[0].token, Settlement::Accept, later);
    assert_eq!(gone, Err(Gone));
    receive(&mut control, 0..1);
    let new = control.fetch(room(9));
    control
        .settle(new[0].token, Settlement::Accept, later)
        .unwrap();
    assert_eq!(messages(new), [0]);
    let (actions, _) = control.turn(later);
    assert_eq!(actions, [Action::Store(vec![at(1, "")])]);
}

#[test]
fn what_waits_is_what_was_not_handed_out() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    c.assigned(&place(1), Some((40, "")));
    let ends = |place: &Place| Some(if place.partition == 0 { 10 } else { 45 });
    assert_eq!(c.waiting(ends), 15);
    receive(&mut c, 0..4);
    let handed = c.fetch(room(3));
    assert_eq!((c.waiting(ends), c.pending()), (12, 3));
    c.settle(handed[0].token, released(0), t0).unwrap();
    assert_eq!((c.waiting(ends), c.pending()), (13, 2));
}

#[test]
fn attempts_outlive_the_owner_and_go_with_the_offset() {
    let t0 = Instant::now();
    let mut c = control(100, 100);
    c.assigned(&place(0), Some((5, "wharf1 5:2@1000 +1:1")));
    c.turn(t0);
    receive(&mut c, [5, 6, 7]);
    let handed = c.fetch(room(9));
    let attempts: Vec<u32> = handed.iter().map(|h| h.kept.attempts).collect();
    assert_eq!(attempts, [2, 1, 0]);
    assert_eq!(handed[0].kept.first_failed_ms, Some(1000));
    c.settle(handed[0].token, Settlement::Accept, t0).unwrap();
    assert_eq!(c.turn(t0).0, [Action::Store(vec![at(6, "6:1")])]);
}

#[test]
fn after_a_stop_settlements_are_flushed_and_only_then_certain() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, 0..3);
    let handed = c.fetch(room(2));
    c.stop();
    receive(&mut c, [3]);
    assert!(c.fetch(room(9)).is_empty());
    c.settle(handed[0].token, Settlement::Accept, t0).unwrap();
    c.settle(handed[1].token, released(1), t0).unwrap();
    let upto = c.settled();
    assert!(!c.is_flushed(upto));
    let (actions, _) = c.turn(t0);
    let flush = Action::Flush(vec![left(1, "wharf1 1:1@1000")], upto);
    assert_eq!(actions, [Action::Pause(vec![place(0)]), flush.clone()]);
    assert_eq!(c.turn(t0).0, [], "it is under way");
    c.flushed(upto, false);
    assert!(!c.is_flushed(upto));
    assert_eq!(c.turn(t0).0, [flush]);
    c.flushed(upto, true);
    assert!(c.is_flushed(upto));
}

#[test]
fn what_became_of_them_is_known_by_partition() {
    let t0 = Instant::now();
    let mut c = control(100, 100);
    let mut all = BTreeMap::new();
    for partition in 0..3 {
        c.assigned(&place(partition), None);
        c.message(TOPIC, partition, 10, 1, i64::from(partition));
    }
    for handed in c.fetch(room(9)) {
        all.insert(handed.message, handed.token);
    }
    c.settle(all[&1], Settlement::Accept, t0).unwrap();
    let offsets: Vec<i64> = c.revoked(&c.places()).iter().map(|p| p.offset).collect();
    assert_eq!(offsets, [10, 11, 10]);
}
