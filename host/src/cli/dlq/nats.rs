//! Dead letters in streams of NATS. One that is sent back is deleted once its copy is confirmed, so that a crash between the
//! two leaves one too many, under the same `wharf-redrive-id`, and never one too few.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::letters::{Letters, Move};
use crate::broker::nats::{NatsBroker, Shelf};
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::commit::{Destination, Publication};
use crate::place::PlaceKind;
use crate::ports::Broker as _;

fn number(position: &str) -> Result<u64> {
    let parsed = position.parse();
    parsed.map_err(|_| Failure::new(format!("`{position}` is no place in a stream")))
}

async fn delete(shelf: &Shelf, positions: impl Iterator<Item = &str>) -> Result<u64> {
    let mut deleted = 0;
    for position in positions {
        deleted += u64::from(shelf.delete(number(position)?).await?);
    }
    Ok(deleted)
}

impl Letters for NatsBroker {
    fn count<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            match self.letters(place).await? {
                Some(shelf) => Ok(shelf.count().await?),
                None => Ok(0),
            }
        })
    }

    fn browse<'a>(
        &'a self,
        place: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let Some(shelf) = self.letters(place).await? else {
                return Ok(Vec::new());
            };
            let after = after.map(number).transpose()?.unwrap_or(0);
            let found = shelf.behind(after, limit).await?;
            Ok(found.into_iter().map(Record::from).collect())
        })
    }

    fn redrive<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let Some(shelf) = self.letters(from).await? else {
                return Ok(0);
            };
            shelf.make_retry(to).await?;
            let mut there = Vec::new();
            for one in moves {
                if shelf.has(number(&one.position)?).await? {
                    there.push(one);
                }
            }
            let destination = Destination::new("retry", self.name(), PlaceKind::Subject, to);
            let destination = Arc::new(destination);
            let publications = there.iter().map(|one| Publication {
                destination: Arc::clone(&destination),
                message: one.message.clone(),
            });
            let publications: Vec<Publication> = publications.collect();
            let batch: Vec<&Publication> = publications.iter().collect();
            let results = self.publisher().publish(&batch).await;
            let (mut confirmed, mut failed) = (Vec::new(), None);
            for (one, result) in there.iter().zip(results) {
                match result {
                    Ok(()) => confirmed.push(one.position.as_str()),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            let moved = delete(&shelf, confirmed.into_iter()).await?;
            failed.map_or(Ok(moved), |error| Err(error.into()))
        })
    }

    fn delete<'a>(&'a self, place: &'a str, positions: &'a [String]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            match self.letters(place).await? {
                Some(shelf) => delete(&shelf, positions.iter().map(String::as_str)).await,
                None => Ok(0),
            }
        })
    }
}
