//! Dead letters in the embedded broker: each batch is one transaction.

use futures_util::future::BoxFuture;

use super::letters::{Letters, Move};
use crate::broker::embedded::Embedded;
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::message::Outgoing;

impl Letters for Embedded {
    fn count<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let topics = self.topics().await?;
            let topic = topics.iter().find(|topic| topic.name == place);
            Ok(topic.map_or(0, |topic| topic.messages))
        })
    }

    fn browse<'a>(
        &'a self,
        place: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let from = match after {
                Some(after) => seq(after)? + 1,
                None => 0,
            };
            let found = Embedded::browse(self, place, from, limit).await?;
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
            let moves: Vec<(u64, Outgoing)> = moves
                .iter()
                .map(|one| Ok((seq(&one.position)?, one.message.clone())))
                .collect::<Result<_>>()?;
            let moved = Embedded::redrive(self, from, to, &moves).await?;
            Ok(there(&moved))
        })
    }

    fn delete<'a>(&'a self, place: &'a str, positions: &'a [String]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let seqs: Vec<u64> = positions.iter().map(|p| seq(p)).collect::<Result<_>>()?;
            let deleted = Embedded::delete(self, place, &seqs).await?;
            Ok(there(&deleted))
        })
    }
}

fn there(answers: &[bool]) -> u64 {
    answers.iter().filter(|there| **there).count() as u64
}

fn seq(position: &str) -> Result<u64> {
    position
        .parse()
        .map_err(|_| Failure::new(format!("`{position}` is no place in a topic")))
}
