//! A place in a Redis stream.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Following;
use crate::broker::redis::{RedisBroker, Tail};
use crate::cli::failure::Result;
use crate::cli::record::Record;
use crate::message::Message;
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
}

impl<'a> RedisTail<'a> {
    pub(in crate::cli) fn new(broker: &'a RedisBroker, stream: &str, payload: PayloadFrom) -> Self {
        Self {
            broker,
            stream: stream.to_owned(),
            payload,
            after: START.to_owned(),
            tail: None,
        }
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
            let tail = self.tail.get_or_insert_with(|| {
                self.broker
                    .tail(&self.stream, self.payload.clone(), self.after.clone())
            });
            let found = self.broker.follow(tail, WAIT, limit).await?;
            Ok(found.into_iter().map(Record::from).collect())
        })
    }
}
