use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn tries_come_less_and_less_often_until_one_works() {
    let mut tries = Tries::new(ms(100), ms(5000));
    let mut next = || tries.failed(Pace::Soon, 0.0).as_millis();
    let steps: Vec<_> = std::iter::repeat_with(&mut next).take(8).collect();
    assert_eq!(steps, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    tries.worked();
    assert_eq!(tries.failed(Pace::Soon, 1.0), ms(50));
    let mut seldom = || tries.failed(Pace::Seldom, 0.0).as_secs();
    let steps: Vec<_> = std::iter::repeat_with(&mut seldom).take(5).collect();
    assert_eq!(steps, [5, 10, 20, 40, 40]);
    tries.worked();
    assert_eq!(tries.failed(Pace::Seldom, 0.0), ms(5000));
}

#[test]
fn what_somebody_has_to_change_is_tried_seldom() {
    for code in [402, 403, 404, 405, 406, 530] {
        assert_eq!(pace(Some(code)), Pace::Seldom, "{code}");
    }
    for code in [None, Some(320), Some(311), Some(541)] {
        assert_eq!(pace(code), Pace::Soon, "{code:?}");
    }
}

fn argument<'a>(of: &'a Declaration, name: &str) -> Option<&'a AMQPValue> {
    of.arguments.inner().get(name)
}

#[test]
fn a_holding_queue_ends_in_the_queue_that_is_read() {
    let own = Own::new("orders", "billing", true).unwrap();
    assert_eq!(own.source().name.as_str(), "retry.orders.billing");
    let holding = own.holding(Tier(1000));
    assert_eq!(holding.name.as_str(), "retry.orders.billing.1000");
    let text = |t: &str| Some(AMQPValue::LongString(t.into()));
    let says = |name| argument(&holding, name).cloned();
    assert_eq!(says("x-message-ttl"), Some(AMQPValue::LongLongInt(1000)));
    assert_eq!(says("x-dead-letter-exchange"), text(""));
    assert_eq!(
        says("x-dead-letter-routing-key"),
        text("retry.orders.billing")
    );
    assert_eq!(says("x-dead-letter-strategy"), text("at-least-once"));
    assert_eq!(says("x-queue-type"), text("quorum"));
    // It would be deleted with what is in it.
    assert_eq!(says("x-expires"), None);
}

#[test]
fn a_classic_queue_is_given_no_arguments_it_would_refuse() {
    let own = Own::new("orders", "billing", false).unwrap();
    for name in ["x-dead-letter-strategy", "x-overflow", "x-delivery-limit"] {
        assert_eq!(argument(&own.source(), name), None, "{name}");
    }
}

/// Classic queues lose what they dead-letter when the server dies at that moment.
#[test]
fn holding_queues_are_quorum_queues_beside_classic_ones_too() {
    let own = Own::new("orders", "billing", false).unwrap();
    let safe = Own::new("orders", "billing", true).unwrap();
    assert_eq!(own.holding(Tier(125)), safe.holding(Tier(125)));
    let kind = argument(&own.source(), "x-queue-type").cloned();
    assert_eq!(kind, Some(AMQPValue::LongString("classic".into())));
}

#[test]
fn holding_queues_are_known_until_they_are_gone() {
    let mut own = Own::new("orders", "billing", true).unwrap();
    assert_eq!(own.tiers().count(), 0);
    own.used(Tier(188));
    own.used(Tier(125));
    assert_eq!(own.tiers().collect::<Vec<_>>(), [Tier(125), Tier(188)]);
    own.gone(Tier(125));
    assert_eq!(own.tiers().collect::<Vec<_>>(), [Tier(188)]);
}

#[test]
fn a_queue_of_dead_letters_never_gives_one_up() {
    let quorum = dead_letters("dlq.orders.billing", true).unwrap();
    assert!(argument(&quorum, "x-delivery-limit").is_some());
    assert_eq!(argument(&quorum, "x-message-ttl"), None);
    assert!(dead_letters(&"q".repeat(256), true).is_none());
}

#[test]
fn names_too_long_for_a_queue_are_told_at_once() {
    assert!(Own::new(&"s".repeat(200), &"p".repeat(60), true).is_none());
}
