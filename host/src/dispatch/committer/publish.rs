//! Publishes the outputs of many commits, to all brokers at once, in order within each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;

use crate::commit::Publication;
use crate::ports::{PublishError, Publisher};

use super::pending::Work;

/// What became of one commit's publications, in their order.
pub(super) type Published = Vec<Result<(), PublishError>>;

/// Answers one entry per commit of `batch`, each with one result per publication.
pub(super) async fn all(
    publishers: &HashMap<Arc<str>, Arc<dyn Publisher>>,
    batch: &[Work],
) -> Vec<Published> {
    // In a fixed order, so that a simulated run can be played again.
    let mut by_broker: BTreeMap<Arc<str>, Vec<(usize, usize)>> = BTreeMap::new();
    for (w, work) in batch.iter().enumerate() {
        for (p, publication) in work.commit.publications.iter().enumerate() {
            let broker = Arc::clone(&publication.destination.broker);
            by_broker.entry(broker).or_default().push((w, p));
        }
    }
    let sends = by_broker.into_iter().map(|(broker, places)| async move {
        let out: Vec<&Publication> = places
            .iter()
            .map(|(w, p)| &batch[*w].commit.publications[*p])
            .collect();
        let results = match publishers.get(&broker) {
            Some(publisher) => publisher.publish(&out).await,
            None => {
                let closed = PublishError::Destination(format!("broker `{broker}` is not open"));
                vec![Err(closed); out.len()]
            }
        };
        (places, results)
    });
    // What gets no answer counts as not published.
    let mut by_work: Vec<Published> = batch
        .iter()
        .map(|w| vec![Err(super::unanswered()); w.commit.publications.len()])
        .collect();
    for (places, results) in join_all(sends).await {
        for ((w, p), result) in places.into_iter().zip(results) {
            by_work[w][p] = result;
        }
    }
    by_work
}
