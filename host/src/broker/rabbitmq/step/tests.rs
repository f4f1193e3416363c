use proptest::prelude::*;

use super::*;

fn release(after: Option<Duration>) -> Settlement {
    Settlement::Release {
        after,
        attempts: 2,
        first_failed_ms: Some(7),
    }
}

fn park(tier: Option<u32>) -> Step {
    Step::Park {
        tier: tier.map(Tier),
        attempts: 2,
        first_failed_ms: Some(7),
    }
}

#[test]
fn a_release_keeps_its_attempts_and_waits_where_it_should() {
    let second = Some(Duration::from_secs(1));
    assert_eq!(step(Settlement::Accept, false), Step::Acknowledge);
    assert_eq!(step(Settlement::Accept, true), Step::Acknowledge);
    assert_eq!(step(release(None), false), park(None));
    assert_eq!(step(release(Some(Duration::ZERO)), false), park(None));
    assert_eq!(step(release(second), false), park(Some(1000)));
    for after in [None, second] {
        let back = Step::Return {
            after,
            attempts: 2,
            first_failed_ms: Some(7),
        };
        assert_eq!(step(release(after), true), back);
    }
}

#[test]
fn tiers_are_few_and_what_is_asked_by_default_is_among_them() {
    let tier = |ms| Tier::of(Duration::from_millis(ms)).0;
    assert_eq!(
        [0, 125, 126, 188, 189, 251].map(tier),
        [125, 125, 188, 188, 250, 375]
    );
    assert_eq!([1000, 2000, 4000, 8000].map(tier), [1000, 2000, 4000, 8000]);
    assert_eq!(Tier::of(Duration::from_micros(125_001)).0, 188);
    assert_eq!(Tier::of(Duration::MAX).0, u32::MAX);
    let all: std::collections::BTreeSet<u32> = (0..4_000_000).step_by(7).map(tier).collect();
    assert!(all.len() < 33, "{all:?}");
}

#[test]
fn a_quorum_queues_count_is_taken_as_it_is() {
    assert_eq!(arrival(0, Some(0), false, false), Arrival::Hand(1));
    assert_eq!(arrival(0, Some(3), true, false), Arrival::Hand(4));
    assert_eq!(arrival(5, Some(3), true, true), Arrival::Hand(9));
    assert_eq!(
        arrival(u32::MAX, Some(u64::MAX), true, false),
        Arrival::Hand(u32::MAX)
    );
}

/// A message that kills its host on a classic queue: each death marks it, each mark moves it, and what stands beside it
/// grows by one.
#[test]
fn on_a_classic_queue_each_crash_counts_once() {
    let (mut parked, mut redelivered) = (0, false);
    let mut seen = Vec::new();
    for _ in 0..4 {
        if let Arrival::Move(deliveries) = arrival(parked, None, redelivered, false) {
            (parked, redelivered) = (deliveries, false);
        }
        let Arrival::Hand(deliveries) = arrival(parked, None, redelivered, false) else {
            panic!("it is not marked");
        };
        seen.push(deliveries);
        redelivered = true;
    }
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[test]
fn where_an_order_is_promised_nothing_is_moved() {
    assert_eq!(arrival(0, None, true, true), Arrival::Hand(1));
}

proptest! {
    #[test]
    fn a_wait_is_never_shorter_and_at_most_half_as_long_again(ms in 0_u64..4_000_000_000) {
        let tier = u64::from(Tier::of(Duration::from_millis(ms)).0);
        prop_assert!(tier >= ms);
        prop_assert!(tier <= (ms * 3).div_ceil(2).max(SHORTEST), "{} for {}", tier, ms);
    }
}
