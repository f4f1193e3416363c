use super::*;
use crate::commit::{Destination, Publication, Settlement};
use crate::delivery::{Delivery, Inbox, Token};
use crate::message::{Message, Outgoing};
use crate::place::PlaceKind;

/// A commit that entered an inbox the ordinary way.
fn entry(id: u64, lane: Option<u32>) -> Entry {
    let inbox = Inbox::new();
    let delivery = Delivery::new(Token(id), Message::for_test(&id.to_string()), &inbox);
    delivery.commit(|parcel| Commit {
        parcel,
        publications: Vec::new(),
        settlement: Settlement::Accept,
        cause: None,
        version: "".into(),
        lane,
    });
    let mut entries = Vec::new();
    assert!(inbox.try_take(&mut entries));
    entries.remove(0)
}

fn ids(work: &[Work]) -> Vec<u64> {
    work.iter().map(|w| w.commit.parcel.token.0).collect()
}

fn due(pending: &mut Pending, now: Instant) -> Vec<Work> {
    let (whole, apart) = pending.take_due(now, |_| true);
    assert!(apart.is_empty());
    whole
}

#[test]
fn one_commit_of_a_lane_at_a_time_in_order() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.add(vec![
        entry(1, Some(7)),
        entry(2, Some(7)),
        entry(3, Some(8)),
        entry(4, None),
        entry(5, Some(7)),
    ]);
    let first = due(&mut p, t);
    assert_eq!(ids(&first), [1, 3, 4]);
    // 1 fails: it keeps its place before 2 and 5.
    for work in first {
        p.hold(work, false);
    }
    assert_eq!(ids(&due(&mut p, t)), [1, 3, 4]);
    assert_eq!(ids(&due(&mut p, t)), [2]);
    assert_eq!(ids(&due(&mut p, t)), [5]);
}

#[test]
fn what_failed_waits_and_so_does_its_lane_but_nothing_else() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.add(vec![entry(1, Some(7)), entry(2, Some(7))]);
    for work in due(&mut p, t) {
        p.hold(work, true);
    }
    p.back_off(t);
    p.add(vec![entry(3, Some(8))]);
    assert_eq!(ids(&due(&mut p, t)), [3]);
    let next = p.next_try();
    assert_eq!(next, Some(t + BACKOFF.0), "not before, and nothing spins");
    assert_eq!(ids(&due(&mut p, t + BACKOFF.0)), [1]);
}

#[test]
fn back_off_grows_once_per_wait_and_ends_with_recovery() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.back_off(t);
    p.back_off(t);
    assert_eq!(
        p.backoff,
        Some((BACKOFF.0, t + BACKOFF.0)),
        "the same outage"
    );
    let later = t + BACKOFF.0;
    p.back_off(later);
    assert_eq!(p.backoff.map(|b| b.0), Some(BACKOFF.0 * 2));
    p.recovered();
    assert_eq!(p.backoff, None);
}

#[test]
fn a_stuck_dead_letter_neither_spins_nor_lets_its_lane_go_on() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.add(vec![entry(1, Some(7)), entry(2, Some(7))]);
    let mut stuck = due(&mut p, t).remove(0);
    stuck.stuck_until = Some(t + Duration::from_secs(30));
    p.hold(stuck, false);
    assert!(due(&mut p, t).is_empty());
    assert_eq!(p.next_try(), Some(t + Duration::from_secs(30)));
    assert!(!p.has_failed(), "the subscription goes on");
}

#[test]
fn letting_go_releases_what_cannot_be_published() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.add(vec![entry(1, None), entry(2, None)]);
    let mut both = due(&mut p, t);
    let mut published = both.remove(0);
    published.begun = true;
    p.hold(published, true);
    p.hold(both.remove(0), true);
    p.let_go();
    assert_eq!(p.take_dropped(t).len(), 1, "released");
    assert_eq!(
        p.work.len(),
        1,
        "its outputs are confirmed: still to be settled"
    );
}

#[test]
fn letting_go_of_a_message_lets_go_of_all_behind_it_in_its_lane() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.add(vec![
        entry(1, Some(7)),
        entry(2, Some(7)),
        entry(3, Some(8)),
    ]);
    let mut first = due(&mut p, t);
    p.hold(first.remove(0), true);
    p.let_go();
    p.add(vec![entry(4, Some(7))]);
    let mut released: Vec<u64> = p.take_dropped(t).iter().map(|d| d.settle.token.0).collect();
    released.sort_unstable();
    assert_eq!(released, [1, 2, 4], "3 was already under way");
}

#[test]
fn what_only_has_to_be_settled_keeps_its_place_while_letting_go() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.add(vec![entry(1, Some(7)), entry(2, Some(7))]);
    let mut published = due(&mut p, t).remove(0);
    published.begun = true;
    p.let_go();
    p.hold(published, true);
    let (whole, apart) = p.take_due(t, |_| true);
    assert_eq!(
        (ids(&whole), ids(&apart)),
        (vec![], vec![1]),
        "2 must not overtake it"
    );
}

#[test]
fn what_fails_after_letting_go_takes_those_behind_it_along() {
    let (mut p, t) = (Pending::default(), Instant::now());
    p.add(vec![
        entry(1, Some(7)),
        entry(2, Some(7)),
        entry(3, Some(8)),
    ]);
    let mut out = due(&mut p, t);
    p.let_go();
    p.hold(out.remove(0), true);
    assert_eq!(p.take_dropped(t).len(), 2);
    assert!(due(&mut p, t).is_empty(), "2 must not go on without 1");
}

/// A commit with an output, of a message that was delivered then.
fn publishing(id: u64, lane: Option<u32>, delivered: Instant) -> Entry {
    let Entry::Commit(mut commit) = entry(id, lane) else {
        unreachable!("a commit")
    };
    commit.parcel.delivered = Some(delivered);
    let destination = Destination::new("out", "b", PlaceKind::Topic, "out");
    commit.publications.push(Publication {
        destination: destination.into(),
        message: Outgoing::default(),
    });
    Entry::Commit(commit)
}

fn released(pending: &mut Pending, now: Instant) -> Vec<u64> {
    let dropped = pending.take_dropped(now);
    let mut ids: Vec<u64> = dropped.iter().map(|d| d.settle.token.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn what_waits_for_a_destination_is_given_up_in_time_and_nothing_else_is() {
    let (mut p, t) = (Pending::default(), Instant::now());
    let patience = Patience::of(Some(Duration::from_secs(20))).expect("bounded");
    let half = Duration::from_secs(10);
    p.add([
        publishing(1, Some(7), t),
        publishing(2, Some(7), t + half),
        publishing(3, None, t),
        publishing(4, None, t + half / 2),
        publishing(5, None, t),
        publishing(6, Some(8), t),
    ]);
    let tried = due(&mut p, t);
    assert_eq!(ids(&tried), [1, 3, 4, 5, 6]);
    for mut work in tried {
        // 5 is published and only has to be settled.
        if work.commit.parcel.token.0 == 5 {
            work.begun = true;
            work.commit.publications.clear();
        }
        // 6 was never tried.
        let failed = work.commit.parcel.token.0 != 6;
        p.hold(work, failed);
    }
    assert_eq!(p.next_to_give_up(patience), Some(t + half));
    assert_eq!(p.give_up(t + half - Duration::from_millis(1), patience), 0);
    assert_eq!(p.give_up(t + half, patience), 3);
    assert_eq!(released(&mut p, t + half), [1, 2, 3], "2 is behind 1");
    assert_eq!(p.next_to_give_up(patience), Some(t + half * 3 / 2));
    assert_eq!(p.give_up(t + half * 3 / 2, patience), 1);
    assert_eq!(released(&mut p, t + half * 3 / 2), [4]);
    assert_eq!(p.next_to_give_up(patience), None);

    p.add([publishing(8, Some(7), t + half * 2)]);
    assert_eq!(released(&mut p, t + half * 2), [8], "it follows 1");
    p.all_ended();
    p.add([publishing(1, Some(7), t + half * 2)]);
    assert!(p.take_dropped(t + half * 2).is_empty(), "it was read anew");
}

#[test]
fn what_waits_behind_something_of_its_lane_is_given_up_without_it() {
    let (mut p, t) = (Pending::default(), Instant::now());
    let patience = Patience::of(Some(Duration::from_secs(20))).expect("bounded");
    p.add([publishing(1, Some(7), t), publishing(2, Some(7), t)]);
    let mut first = due(&mut p, t).remove(0);
    first.begun = true;
    first.commit.publications.clear();
    p.hold(first, true);
    assert_eq!(p.give_up(t + Duration::from_secs(10), patience), 1);
    assert_eq!(released(&mut p, t + Duration::from_secs(10)), [2]);
}
