//! Against a client and a broker that keep to the rules, with everything that may go wrong in between.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

mod model;

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
    Control::new(Bounds {
        buffer: amount(buffer),
        window: amount(window),
    })
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

fn at(position: i64, metadata: &str) -> Position {
    Position {
        place: place(0),
        offset: position,
        metadata: metadata.to_owned(),
    }
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
fn a_full_window_of_released_messages_is_read_again() {
    let t0 = Instant::now();
    let mut c = assigned(100, 2, t0);
    receive(&mut c, 0..2);
    let handed = c.fetch(room(2));
    c.turn(t0);
    assert_eq!(c.turn(t0 + ms(100)).0, [Action::Pause(vec![place(0)])]);
    for one in handed {
        c.settle(one.token, released(0), t0).unwrap();
    }
    let actions = [Action::Seek(place(0), 0), Action::Resume(vec![place(0)])];
    assert_eq!(c.turn(t0 + ms(1000)).0, actions);
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
    let got = |c: &mut Control<i64>, room| -> Vec<i64> {
        c.fetch(room).into_iter().map(|h| h.message).collect()
    };
    assert_eq!(got(&mut c, small), [0, 1]);
    assert_eq!(got(&mut c, small), [2]);
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
fn where_a_group_without_an_offset_began_is_kept_at_once() {
    let t0 = Instant::now();
    let mut c = control(100, 100);
    c.assigned(&place(0), None);
    c.turn(t0);
    receive(&mut c, [40]);
    // A crash now must not make the group begin at the end once more.
    assert_eq!(c.turn(t0).0, [Action::Store(vec![at(40, "")])]);
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
    let position = at(5, "wharf1 5:2@1000");
    let (actions, _) = c.turn(t0);
    assert_eq!(
        actions,
        [
            Action::Seek(place(0), 5),
            Action::Commit(vec![position.clone()])
        ]
    );
    assert_eq!(c.turn(t0 + ms(900)).0, [], "once");
    c.not_committed(std::slice::from_ref(&position));
    assert_eq!(c.turn(t0 + ms(1800)).0, [Action::Commit(vec![position])]);
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
    assert_eq!(c.turn(t0).0, [Action::Store(vec![at(6, "wharf1 6:1")])]);
}

#[test]
fn a_delay_of_a_release_delays_its_partition() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, [0]);
    let handed = c.fetch(room(1));
    let settlement = Settlement::Release {
        after: Some(ms(300)),
        attempts: 0,
        first_failed_ms: None,
    };
    c.settle(handed[0].token, settlement, t0).unwrap();
    receive(&mut c, [1]);
    assert!(c.is_empty(), "what is behind it waits too");
    assert_eq!(c.turn(t0 + ms(299)).0, []);
    assert_eq!(c.turn(t0 + ms(300)).0, [Action::Seek(place(0), 0)]);
}

#[test]
fn a_release_takes_back_what_was_received_behind_it() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, 0..5);
    let handed = c.fetch(room(2));
    c.settle(handed[1].token, released(0), t0).unwrap();
    assert!(c.fetch(room(9)).is_empty());
    assert_eq!(c.turn(t0).0, [Action::Seek(place(0), 1)]);
    receive(&mut c, 1..5);
    let again: Vec<i64> = c.fetch(room(9)).into_iter().map(|h| h.message).collect();
    assert_eq!(again, [1, 2, 3, 4]);
}

#[test]
fn a_client_that_did_not_go_back_is_told_again() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, 0..2);
    let handed = c.fetch(room(1));
    c.settle(handed[0].token, released(0), t0).unwrap();
    c.turn(t0);
    // Under way still, all of them.
    receive(&mut c, 2..50);
    assert!(c.is_empty());
    assert_eq!(c.turn(t0 + ms(499)).0, []);
    let again = [Action::Seek(place(0), 0)];
    assert_eq!(c.turn(t0 + ms(500)).0, again);
    c.not_sought(&place(0));
    assert_eq!(c.turn(t0 + ms(1000)).0, again);
    receive(&mut c, [0]);
    assert!(!c.is_empty());
    assert_eq!(c.gone(), 0);
}

#[test]
fn a_partition_that_leaves_is_emptied_and_committed() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    c.assigned(&place(1), Some((50, "")));
    c.turn(t0);
    receive(&mut c, 0..3);
    c.message(TOPIC, 1, 50, 1, 50);
    let handed = c.fetch(room(2));
    c.leaving(&[place(0)]);
    assert_eq!(c.in_hand(&[place(0)]), 2);
    assert_eq!(c.turn(t0).0, [Action::Pause(vec![place(0)])]);
    let other: Vec<i64> = c.fetch(room(9)).into_iter().map(|h| h.message).collect();
    assert_eq!(other, [50], "the others go on");
    c.settle(handed[0].token, Settlement::Accept, t0).unwrap();
    assert_eq!(c.revoked(&[place(0)]), [at(1, "")]);
    assert_eq!(c.settle(handed[1].token, Settlement::Accept, t0), Err(Gone));
}

#[test]
fn a_settlement_of_an_earlier_assignment_changes_nothing() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, [0]);
    let old = c.fetch(room(1));
    c.lost(&[place(0)]);
    c.assigned(&place(0), None);
    receive(&mut c, [0]);
    let new = c.fetch(room(1));
    assert_eq!(c.settle(old[0].token, Settlement::Accept, t0), Err(Gone));
    assert_eq!(c.revoked(&[place(0)]), [at(0, "")]);
    assert_eq!(c.settle(new[0].token, Settlement::Accept, t0), Err(Gone));
}

#[test]
fn a_log_that_begins_again_is_read_from_there_and_committed_back() {
    let t0 = Instant::now();
    let mut c = control(100, 100);
    c.assigned(&place(0), Some((100, "wharf1 100:3")));
    c.turn(t0);
    receive(&mut c, [100, 101]);
    let old = c.fetch(room(1));
    receive(&mut c, [0]);
    assert_eq!(c.settle(old[0].token, Settlement::Accept, t0), Err(Gone));
    let new = c.fetch(room(9));
    assert_eq!(new.iter().map(|h| h.message).collect::<Vec<_>>(), [0]);
    c.settle(new[0].token, Settlement::Accept, t0).unwrap();
    assert_eq!(c.turn(t0).0, [Action::Commit(vec![at(1, "")])]);
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
    let flush = Action::Flush(vec![at(1, "wharf1 1:1@1000")], upto);
    assert_eq!(actions, [Action::Pause(vec![place(0)]), flush.clone()]);
    assert_eq!(c.turn(t0).0, [], "it is under way");
    c.flushed(upto, false);
    assert!(!c.is_flushed(upto));
    assert_eq!(c.turn(t0).0, [flush]);
    c.flushed(upto, true);
    assert!(c.is_flushed(upto));
}

#[test]
fn epochs_begin_again_after_the_last_and_skip_those_in_use() {
    let mut c = control(100, 100);
    c.assigned(&place(0), None);
    c.last_epoch = Epoch(0).before();
    c.assigned(&place(1), None);
    c.assigned(&place(2), None);
    let used: BTreeSet<Epoch> = c.slots.keys().copied().collect();
    assert_eq!(used.len(), 3);
}

impl Epoch {
    /// The last one.
    fn before(self) -> Self {
        Self(self.0.wrapping_sub(1) & 0xff_ffff)
    }
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
