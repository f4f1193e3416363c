//! Dead letters in Redis: each message is moved by one script, so that it is in one stream at any time.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::letters::{Letters, Move};
use crate::broker::redis::RedisBroker;
use crate::cli::failure::Result;
use crate::cli::record::Record;
use crate::commit::{Destination, Publication};
use crate::place::PlaceKind;
use crate::ports::{Broker as _, PayloadFrom};

/// Dead letters are written by the host, whatever the original stream looks like.
fn payload() -> PayloadFrom {
    PayloadFrom::Field("payload".into())
}

impl Letters for RedisBroker {
    fn count<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move { Ok(self.len(place).await?) })
    }

    fn browse<'a>(
        &'a self,
        place: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let found = RedisBroker::browse(self, place, &payload(), after, limit).await?;
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
            let destination = Destination::new("retry", self.name(), PlaceKind::Stream, to);
            let destination = Arc::new(destination);
            let mut moved = 0;
            for one in moves {
                let publication = Publication {
                    destination: Arc::clone(&destination),
                    message: one.message.clone(),
                };
                let done = RedisBroker::redrive(self, from, &one.position, &publication).await?;
                moved += u64::from(done);
            }
            Ok(moved)
        })
    }

    fn delete<'a>(&'a self, place: &'a str, positions: &'a [String]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move { Ok(RedisBroker::delete(self, place, positions).await?) })
    }
}
