//! Order and priority.

use std::time::Duration;

use super::support::*;
use crate::message::Outgoing;

fn with_priority(payload: &str, priority: u8) -> Outgoing {
    let mut message = text(payload);
    message.priority = Some(priority);
    message
}

#[tokio::test]
async fn higher_priorities_come_first_through_a_backlog() {
    let place = Place::new();
    let broker = place.owner();
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let mut messages: Vec<_> = (0..50).map(|i| text(&format!("plain-{i}"))).collect();
    messages.extend([
        with_priority("low", 1),
        with_priority("high", 9),
        with_priority("none", 0),
        with_priority("high-too", 9),
    ]);
    publish(&broker, "in", messages).await;
    let first = reading.fetch_all(4).await;
    assert_eq!(payloads(&first), ["high", "high-too", "low", "plain-0"]);
    assert_eq!(first[0].message.priority, Some(9));
    let rest = reading.fetch_all(50).await;
    assert_eq!(payloads(&rest)[49], "none");
    reading.nothing().await;
}

#[tokio::test]
async fn in_an_ordered_subscription_the_sequence_alone_counts() {
    let place = Place::new();
    let broker = place.owner();
    let mut ordered = spec("in", "g");
    ordered.ordered = true;
    let mut reading = Reading::open(&broker, ordered).await;
    publish(
        &broker,
        "in",
        vec![
            text("1"),
            with_priority("2", 9),
            text("3"),
            with_priority("4", 1),
        ],
    )
    .await;
    for expected in ["1", "2", "3", "4"] {
        assert_eq!(payloads(&reading.fetch(1).await), [expected]);
    }
}

#[tokio::test]
async fn released_messages_come_back_in_their_place() {
    let place = Place::new();
    let broker = place.owner();
    let mut ordered = spec("in", "g");
    ordered.ordered = true;
    let mut reading = Reading::open(&broker, ordered).await;
    publish_texts(&broker, "in", &["1", "2", "3", "4", "5"]).await;
    let taken = reading.fetch_all(3).await;
    // Released in any order, as lanes do.
    for index in [2, 0, 1] {
        reading.release(&taken[index], None, 0).await;
    }
    assert_eq!(
        payloads(&reading.fetch_all(5).await),
        ["1", "2", "3", "4", "5"]
    );
}

#[tokio::test]
async fn a_delayed_release_holds_back_what_is_newer_where_order_is_promised() {
    let place = Place::new();
    let broker = place.owner();
    for ordered in [true, false] {
        let topic = if ordered { "ordered" } else { "unordered" };
        let mut spec = spec(topic, "g");
        spec.ordered = ordered;
        let mut reading = Reading::open(&broker, spec).await;
        publish_texts(&broker, topic, &["1", "2"]).await;
        let first = reading.fetch(1).await;
        reading
            .release(&first[0], Some(Duration::from_millis(200)), 1)
            .await;
        let expected = if ordered { ["1", "2"] } else { ["2", "1"] };
        assert_eq!(payloads(&reading.fetch_all(2).await), expected, "{topic}");
    }
}
