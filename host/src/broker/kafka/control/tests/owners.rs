//! Partitions change their owners, in order and out of it.

use super::*;

#[test]
fn a_partition_left_in_order_before_anything_came_says_so() {
    let mut c = control(100, 100);
    let first = c.assigned(&place(0), Some((5, "wharf1 ~1 5:1")));
    assert_eq!(first, Some(left(5, "wharf1 ~2 5:1")));
    c.leaving(&[place(0)]);
    assert_eq!(c.revoked(&[place(0)]), [left(5, "wharf1 5:1")]);
}

#[test]
fn a_partition_that_killed_its_owners_is_handed_out_one_by_one_each_after_a_commit() {
    let t0 = Instant::now();
    let mut c = control(100, 4);
    let found = format!("wharf1 ~{}", slot::CAUTIOUS + 3);
    let first = c.assigned(&place(0), Some((7, &found)));
    assert_eq!(first, None, "counted when it is handed out");
    let counted = format!("wharf1 ~{}", slot::CAUTIOUS + 4);
    receive(&mut c, 7..12);
    assert!(c.fetch(room(9)).is_empty(), "not before a commit");
    let (actions, _) = c.turn(t0);
    let begin = left(7, &counted);
    assert!(
        actions.contains(&Action::Begin(begin.clone())),
        "{actions:?}"
    );
    c.began(&begin, false, t0);
    assert!(!c.is_ready());
    assert_eq!(c.turn(t0 + ms(200)).0, [Action::Begin(begin.clone())]);
    c.began(&begin, true, t0);
    let head = c.fetch(room(9));
    assert_eq!(head.len(), 1, "alone");
    assert_eq!(head[0].deliveries, 5);
    c.settle(head[0].token, Settlement::Accept, t0).unwrap();
    for offset in 8..11 {
        let now = t0 + ms(1000 * offset as u64);
        let begin = at(offset, "");
        assert!(c.turn(now).0.contains(&Action::Begin(begin.clone())));
        c.began(&begin, true, now);
        let one = c.fetch(room(9));
        assert_eq!(
            (one[0].message, one[0].deliveries, one.len()),
            (offset, 1, 1)
        );
        c.settle(one[0].token, Settlement::Accept, now).unwrap();
    }
    assert!(c.is_ready(), "a window further, it is over");
}

#[test]
fn a_partition_begun_twice_is_not_cautious() {
    let mut c = control(100, 100);
    c.assigned(&place(0), Some((7, "wharf1 ~1")));
    receive(&mut c, 7..9);
    let both = c.fetch(room(9));
    assert_eq!(
        both.iter().map(|h| h.deliveries).collect::<Vec<_>>(),
        [1, 1]
    );
}

#[test]
fn a_text_the_server_refuses_becomes_shorter_and_is_committed_again() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    receive(&mut c, [0]);
    let handed = c.fetch(room(1));
    c.settle(handed[0].token, released(1), t0).unwrap();
    c.turn(t0);
    let mut texts = Vec::new();
    for n in 1..7 {
        c.text_refused();
        for action in c.turn(t0 + ms(1000 * n)).0 {
            if let Action::Commit(positions) = action {
                texts.push(positions[0].metadata.len());
            }
        }
    }
    assert!(
        texts.is_sorted_by(|a, b| a >= b) && texts.last() == Some(&0),
        "{texts:?}"
    );
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
    assert_eq!(messages(c.fetch(room(9))), [50], "the others go on");
    c.settle(handed[0].token, Settlement::Accept, t0).unwrap();
    assert_eq!(c.revoked(&[place(0)]), [left(1, "")]);
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
    c.leaving(&[place(0)]);
    assert_eq!(c.revoked(&[place(0)]), [left(0, "")]);
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
fn a_topic_that_left_and_is_back_is_handed_out_when_it_is_known_to_be_the_same() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    c.assigned(&place(1), Some((0, "")));
    c.found(TOPIC, false);
    c.revoked(&[place(0)]);
    let first = c.assigned(&place(0), Some((3, "")));
    assert!(first.is_some(), "another partition of it never left");
    c.revoked(&[place(0), place(1)]);

    let first = c.assigned(&place(0), Some((3, "wharf1 3:1")));
    assert_eq!(first, None);
    assert_eq!(c.missing_places(), [place(0)], "it is asked for");
    receive(&mut c, 3..5);
    c.turn(t0);
    assert!(!c.is_ready() && c.fetch(room(9)).is_empty());
    assert_eq!(c.positions(&[place(0)]), [], "and not committed");
    assert_eq!(c.found(TOPIC, false), [at(3, "3:1")]);
    assert_eq!(messages(c.fetch(room(9))), [3, 4]);
}

#[test]
fn of_a_topic_that_left_and_is_back_as_another_only_that_is_handed_out() {
    let t0 = Instant::now();
    let mut c = assigned(100, 100, t0);
    c.found(TOPIC, false);
    c.lost(&[place(0)]);
    c.assigned(&place(0), Some((3, "")));
    receive(&mut c, 3..5);
    // It goes and comes while nobody has answered.
    c.lost(&[place(0)]);
    c.assigned(&place(0), Some((3, "")));
    receive(&mut c, 3..5);
    assert!(c.fetch(room(9)).is_empty());
    assert_eq!(c.found(TOPIC, true), []);
    receive(&mut c, 0..5);
    assert_eq!(messages(c.fetch(room(9))), [0, 1, 2, 3, 4]);
}

#[test]
fn where_servers_do_not_tell_one_topic_from_another_nothing_waits_for_that() {
    let mut c = assigned(100, 100, Instant::now());
    c.lost(&[place(0)]);
    assert!(c.assigned(&place(0), Some((3, ""))).is_some());
    receive(&mut c, 3..5);
    assert_eq!(messages(c.fetch(room(9))), [3, 4]);
}
