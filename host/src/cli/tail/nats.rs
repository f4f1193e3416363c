//! A place in a stream of NATS, or in a subject that a stream holds.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Following;
use crate::broker::nats::{NatsBroker, Shelf};
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::message::Message;

/// Between two looks whether something has come.
const LOOK: Duration = Duration::from_millis(250);

pub(in crate::cli) struct NatsTail<'a> {
    broker: &'a NatsBroker,
    place: String,
    /// Found by the first read.
    shelf: Option<Shelf>,
    /// The last number that was read.
    after: u64,
}

impl<'a> NatsTail<'a> {
    pub(in crate::cli) fn new(broker: &'a NatsBroker, place: &str) -> Self {
        Self {
            broker,
            place: place.to_owned(),
            shelf: None,
            after: 0,
        }
    }

    async fn shelf(&mut self) -> Result<&Shelf> {
        if self.shelf.is_none() {
            self.shelf = self.broker.shelf(&self.place).await?;
        }
        self.shelf.as_ref().ok_or_else(|| {
            Failure::usage(format!(
                "`{}` cannot be looked into: there is no stream of that name, and none holds such a subject. What passes outside of streams is kept nowhere",
                self.place
            ))
        })
    }

    fn read(&mut self, messages: Vec<Message>) -> Vec<Record> {
        let records: Vec<Record> = messages.into_iter().map(Record::from).collect();
        if let Some(last) = records.last() {
            self.after = last.position.parse().unwrap_or(self.after);
        }
        records
    }
}

impl Following for NatsTail<'_> {
    fn newest(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            let shelf = self.shelf().await?;
            let end = shelf.end().await?;
            let found = match limit {
                0 => Vec::new(),
                limit => shelf.newest(end, limit).await?,
            };
            let records = self.read(found);
            self.after = end;
            Ok(records)
        })
    }

    fn next(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            let after = self.after;
            let found = self.shelf().await?.behind(after, limit).await?;
            Ok(self.read(found))
        })
    }

    fn wait(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            let found = self.next(limit).await?;
            if found.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
            Ok(found)
        })
    }
}
