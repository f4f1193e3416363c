use super::*;

fn parked(deliveries: u32, due_ms: Option<u64>) -> Parked {
    Parked {
        deliveries,
        due_ms,
        ..Parked::default()
    }
}

#[test]
fn every_delivery_from_the_source_counts() {
    for n in 1..5 {
        assert_eq!(arrival(None, n, 0), Arrival::Hand(n));
    }
    assert_eq!(arrival(None, 0, 0), Arrival::Hand(1));
}

#[test]
fn a_wait_is_no_delivery() {
    let waiting = parked(0, Some(10_000));
    let wait = Arrival::Wait(Duration::from_millis(9_000));
    assert_eq!(arrival(Some(&waiting), 1, 1_000), wait);
    assert_eq!(arrival(Some(&waiting), 2, 10_000), Arrival::Hand(1));
    // Nobody read while it waited.
    assert_eq!(arrival(Some(&waiting), 1, 50_000), Arrival::Hand(1));
    // Its host died with it.
    assert_eq!(arrival(Some(&waiting), 3, 10_000), Arrival::Hand(2));
}

#[test]
fn one_that_comes_early_twice_is_published_anew() {
    let waiting = parked(3, Some(10_000));
    assert_eq!(arrival(Some(&waiting), 2, 1_000), Arrival::Again(3));
}

#[test]
fn what_was_counted_before_is_kept() {
    assert_eq!(arrival(Some(&parked(4, None)), 1, 0), Arrival::Hand(5));
    assert_eq!(arrival(Some(&parked(4, None)), 2, 0), Arrival::Hand(6));
}

#[test]
fn a_wait_is_never_shorter_than_asked_for() {
    let ns = Duration::from_nanos;
    assert_eq!(due(None, 5), None);
    assert_eq!(due(Some(Duration::ZERO), 5), None);
    assert_eq!(due(Some(ns(1)), 5), Some(6));
    assert_eq!(due(Some(ns(1_000_000)), 5), Some(6));
    assert_eq!(due(Some(ns(1_000_001)), 5), Some(7));
    assert!(due(Some(Duration::MAX), u64::MAX).is_some());
}
