//! Fetching and settling.

use super::support::*;

#[tokio::test]
async fn what_is_published_is_fetched_once_and_settled() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a", "b"]).await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let parcels = reading.fetch(10).await;
    assert_eq!(payloads(&parcels), ["a", "b"]);
    assert_eq!(parcels[0].message.deliveries, 1);
    reading.accept(&parcels).await;
    reading.nothing().await;
}
