//! Dead letters in RabbitMQ. They are taken out of their queue to be looked at, and are back in it when the command ends:
//! another one that looks at the same time finds fewer. One that is sent back is acknowledged once its copy is confirmed,
//! so that a crash between the two leaves one too many, and never one too few.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::letters::{Letters, Move};
use crate::broker::rabbitmq::{Look, RabbitBroker};
use crate::cli::failure::Result;
use crate::cli::record::Record;
use crate::commit::{Destination, Publication};
use crate::place::PlaceKind;
use crate::ports::Broker as _;

/// A broker, and the queue that is looked into.
pub(in crate::cli) struct RabbitLetters {
    pub(in crate::cli) broker: RabbitBroker,
    look: Mutex<Option<(String, Look)>>,
}

impl RabbitLetters {
    pub(in crate::cli) fn new(broker: RabbitBroker) -> Self {
        Self {
            broker,
            look: Mutex::new(None),
        }
    }

    /// Gives back what was looked at, and closes.
    pub(in crate::cli) async fn close(&self) {
        if let Some((_, look)) = self.look.lock().await.take() {
            look.end().await;
        }
        self.broker.close().await;
    }
}

impl Letters for RabbitLetters {
    fn count<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            // What an earlier look has taken is there as well.
            if let Some((_, look)) = self.look.lock().await.take() {
                look.end().await;
            }
            Ok(self.broker.count(place).await?)
        })
    }

    fn browse<'a>(
        &'a self,
        place: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let mut look = self.look.lock().await;
            let found = match look.as_mut() {
                Some((queue, look)) if after.is_some() && queue == place => {
                    look.next(limit).await?
                }
                _ => {
                    if let Some((_, before)) = look.take() {
                        before.end().await;
                    }
                    let begun = self.broker.look(place).await?;
                    let (_, begun) = look.insert((place.to_owned(), begun));
                    begun.next(limit).await?
                }
            };
            Ok(found.into_iter().map(Record::from).collect())
        })
    }

    fn redrive<'a>(
        &'a self,
        _: &'a str,
        to: &'a str,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let mut look = self.look.lock().await;
            let Some((_, look)) = look.as_mut() else {
                return Ok(0);
            };
            self.broker.make(to).await?;
            let destination = Destination::new("retry", self.broker.name(), PlaceKind::Queue, to);
            let destination = Arc::new(destination);
            let moves: Vec<&Move> = moves.iter().filter(|m| look.has(&m.position)).collect();
            let publications = moves.iter().map(|one| Publication {
                destination: Arc::clone(&destination),
                message: one.message.clone(),
            });
            let publications: Vec<Publication> = publications.collect();
            let batch: Vec<&Publication> = publications.iter().collect();
            let results = self.broker.publisher().publish(&batch).await;
            let mut confirmed = Vec::new();
            let mut failed = None;
            for (one, result) in moves.iter().zip(results) {
                match result {
                    Ok(()) => confirmed.push(one.position.clone()),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            let moved = look.remove(&confirmed).await?;
            failed.map_or(Ok(moved), |error| Err(error.into()))
        })
    }

    fn delete<'a>(&'a self, _: &'a str, positions: &'a [String]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            match self.look.lock().await.as_mut() {
                Some((_, look)) => Ok(look.remove(positions).await?),
                None => Ok(0),
            }
        })
    }
}
