//! Dead letters in Kafka. A topic is a log: single records cannot be taken out of it, so one that is sent back stays where
//! it is as well, until the topic's retention ends it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::letters::{Letters, Move};
use crate::broker::kafka::{KafkaBroker, Reader};
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::cli::tail::kafka_record;
use crate::commit::{Destination, Publication};
use crate::place::PlaceKind;
use crate::ports::{Broker as _, BrokerError};

async fn ask<T: Send + 'static>(
    broker: &KafkaBroker,
    place: &str,
    question: impl FnOnce(&mut Reader) -> std::result::Result<T, BrokerError> + Send + 'static,
) -> Result<T> {
    let mut reader = broker.reader(place)?;
    let asked = tokio::task::spawn_blocking(move || question(&mut reader));
    let answer = asked.await;
    Ok(answer.map_err(|error| Failure::new(error.to_string()))??)
}

impl Letters for KafkaBroker {
    fn keeps(&self) -> bool {
        true
    }

    fn count<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(ask(self, place, |reader| reader.count()))
    }

    fn browse<'a>(
        &'a self,
        place: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let after = after.map(position).transpose()?;
            let found = ask(self, place, move |reader| reader.behind(after, limit)).await?;
            Ok(found.into_iter().map(kafka_record).collect())
        })
    }

    fn redrive<'a>(
        &'a self,
        _: &'a str,
        to: &'a str,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let destination = Destination::new("retry", self.name(), PlaceKind::Topic, to);
            let destination = Arc::new(destination);
            let publications: Vec<Publication> = moves
                .iter()
                .map(|one| Publication {
                    destination: Arc::clone(&destination),
                    message: one.message.clone(),
                })
                .collect();
            let batch: Vec<&Publication> = publications.iter().collect();
            let mut sent = 0;
            for result in self.publisher().publish(&batch).await {
                result?;
                sent += 1;
            }
            Ok(sent)
        })
    }

    fn delete<'a>(&'a self, place: &'a str, _: &'a [String]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            Err(Failure::new(format!(
                "Kafka cannot delete single records of `{place}`: let the topic's retention do it"
            )))
        })
    }
}

/// Partition and offset.
fn position(text: &str) -> Result<(i32, i64)> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
    parts.ok_or_else(|| Failure::new(format!("`{text}` is no place in a topic")))
}
