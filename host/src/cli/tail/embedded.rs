//! A place in a topic of the embedded broker.

use futures_util::future::BoxFuture;

use super::Following;
use crate::broker::embedded::Embedded;
use crate::cli::failure::Result;
use crate::cli::record::Record;

/// Sequences looked at in one step backwards, where messages have been deleted between them.
const STEP: u64 = 1024;

pub(in crate::cli) struct EmbeddedTail<'a> {
    broker: &'a Embedded,
    topic: String,
    /// The first sequence that was not read.
    next: u64,
}

impl<'a> EmbeddedTail<'a> {
    pub(in crate::cli) fn new(broker: &'a Embedded, topic: &str) -> Self {
        Self {
            broker,
            topic: topic.to_owned(),
            next: 0,
        }
    }

    async fn newest(&mut self, limit: usize) -> Result<Vec<Record>> {
        let last = self.broker.last_seq(&self.topic).await?;
        let mut from = last + 1;
        let mut found = Vec::new();
        // Sequences may be missing: looks further back until there are enough.
        while found.len() < limit && from > 0 {
            let until = from;
            from = from.saturating_sub(STEP.max(limit as u64));
            let room = usize::try_from(until - from).unwrap_or(usize::MAX);
            let mut before = self.broker.browse(&self.topic, from, room).await?;
            before.retain(|stored| stored.seq < until);
            before.append(&mut found);
            found = before;
        }
        self.next = last + 1;
        let skip = found.len().saturating_sub(limit);
        Ok(found.into_iter().skip(skip).map(Record::from).collect())
    }
}

impl Following for EmbeddedTail<'_> {
    fn newest(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.newest(limit))
    }

    fn next(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            let found = self.broker.browse(&self.topic, self.next, limit).await?;
            self.next = found.last().map_or(self.next, |last| last.seq + 1);
            Ok(found.into_iter().map(Record::from).collect())
        })
    }

    fn wait(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(async move {
            let found = self.broker.follow(&self.topic, self.next, limit).await?;
            self.next = found.last().map_or(self.next, |last| last.seq + 1);
            Ok(found.into_iter().map(Record::from).collect())
        })
    }
}
