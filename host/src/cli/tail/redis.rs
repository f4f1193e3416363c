//! A place in Redis: in a stream, a list or a sorted set, whichever lies under that name.
//!
//! A list and a sorted set show what waits to be read, in that order. They have no history to follow.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Following;
use crate::broker::redis::{RedisBroker, Tail};
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::message::Message;
use crate::place::PlaceKind;
use crate::ports::PayloadFrom;

/// How long one wait at the server takes.
const WAIT: Duration = Duration::from_secs(1);
/// Before all entries.
const START: &str = "0-0";

pub(in crate::cli) struct RedisTail<'a> {
    broker: &'a RedisBroker,
    stream: String,
    payload: PayloadFrom,
    /// The last entry that was read.
    after: String,
    /// The waiting connection, once there was something to wait for.
    tail: Option<Tail>,
    /// How many items of a list or a sorted set were shown.
    shown: u64,
}

impl<'a> RedisTail<'a> {
    pub(in crate::cli) fn new(broker: &'a RedisBroker, stream: &str, payload: PayloadFrom) -> Self {
        Self {
            broker,
            stream: stream.to_owned(),
            payload,
            after: START.to_owned(),
            tail: None,
            shown: 0,
        }
    }

    /// What it is, where it is not a stream.
    async fn kind(&self) -> Result<Option<PlaceKind>> {
        let kind = self.broker.kind_of(&self.stream).await?;
        Ok(kind.filter(|kind| *kind != PlaceKind::Stream))
    }

    /// The next items of a list or a sorted set, without taking them.
    async fn look(&mut self, kind: PlaceKind, limit: usize) -> Result<Vec<Record>> {
        let found = self.broker.look(kind, &self.stream, self.shown, 0, limit);
        let found = found.await?;
        self.shown += found.len() as u64;
        Ok(found.into_iter().map(Record::from).collect())
    }

    fn read(&mut self, messages: Vec<Message>) -> Vec<Record> {
        if let Some(last) = messages.last() {
            self.after = last.origin.position.to_string();
        }
        messages.into_iter().map(Record::from).collect()
    }
}

impl Following for RedisTail<'_> {
    fn newest(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            if let Some(kind) = self.kind().await? {
                let items = self.broker.items(kind, &self.stream).await?;
                self.shown = items.saturating_sub(limit as u64);
                return self.look(kind, limit).await;
            }
            let end = self.broker.end(&self.stream).await?;
            let found = match limit {
                0 => Vec::new(),
                limit => {
                    self.broker
                        .newest(&self.stream, &self.payload, limit)
                        .await?
                }
            };
            self.after = end;
            Ok(self.read(found))
        })
    }

    fn next(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            if let Some(kind) = self.kind().await? {
                return self.look(kind, limit).await;
            }
            let after = Some(&*self.after);
            let found = self
                .broker
                .browse(&self.stream, &self.payload, after, limit)
                .await?;
            Ok(self.read(found))
        })
    }

    fn wait(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            if let Some(kind) = self.kind().await? {
                return Err(Failure::usage(format!(
                    "`{}` is a {}: it shows what waits, and has no end to wait at; leave out `--follow`",
                    self.stream,
                    kind.key().replace('_', " ")
                )));
            }
            let tail = self.tail.get_or_insert_with(|| {
                self.broker
                    .tail(&self.stream, self.payload.clone(), self.after.clone())
            });
            let found = self.broker.follow(tail, WAIT, limit).await?;
            Ok(found.into_iter().map(Record::from).collect())
        })
    }
}
