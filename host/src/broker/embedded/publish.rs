//! Publishing: a row at the end of its topic, and a `pending` row per group where it stands apart.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::params;

use super::Handle;
use super::id;
use super::job::Operation;
use super::ledger::Ledger;
use super::row::Row;
use super::schema::{DELAYED, READY};
use crate::commit::Publication;
use crate::ports::{PublishError, Publisher};

/// Inserts rows, all or none.
pub(super) struct Publish {
    pub(super) rows: Vec<Row>,
}

impl Operation for Publish {
    type Output = ();

    fn weight(&self) -> usize {
        self.rows.iter().map(Row::weight).sum()
    }

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.rows
            .iter()
            .try_for_each(|row| insert(ledger, row).map(drop))
    }
}

/// Appends one message. Returns its sequence.
pub(super) fn insert(ledger: &mut Ledger, row: &Row) -> rusqlite::Result<i64> {
    let topic = ledger.topic_named(&row.topic)?;
    let seq = ledger.next_seq(topic);
    let now = ledger.now;
    let due = row
        .delay_ms
        .filter(|delay| *delay > 0)
        .map(|delay| now + i64::from(delay));
    let priority = i64::from(row.priority.unwrap_or(0));
    let apart = due.is_some() || priority > 0;
    ledger
        .sql(
            "INSERT INTO messages (id, published_ms, message_id, payload, tombstone, apart, key, headers, raw_headers,
                content_type, correlation_id, reply_to, priority, due_ms, expires_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            id::row(ledger.topic(topic).id, seq),
            now,
            &*row.message_id,
            &*row.payload,
            row.tombstone,
            apart,
            row.key.as_deref(),
            row.headers.as_deref(),
            row.raw_headers.as_deref(),
            row.content_type.as_deref(),
            row.correlation_id.as_deref(),
            row.reply_to.as_deref(),
            row.priority,
            due,
            row.ttl_ms.map(|ttl| now + i64::from(ttl)),
        ])?;
    if apart {
        let mut sql = ledger.sql(
            "INSERT INTO pending (grp, seq, state, due_ms, deliveries, attempts, priority)
             VALUES (?1, ?2, ?3, ?4, 0, 0, ?5)",
        )?;
        let state = if due.is_some() { DELAYED } else { READY };
        for group in &ledger.topic(topic).groups {
            sql.execute(params![group.id, seq, state, due, priority])?;
        }
    }
    Ok(seq)
}

/// Publishes to this file. Confirmed means: committed, and with `Sync::Full` on the disk.
pub(super) struct EmbeddedPublisher {
    pub(super) handle: Arc<Handle>,
}

impl Publisher for EmbeddedPublisher {
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            let mut rows = Vec::with_capacity(batch.len());
            let mut results: Vec<Result<(), PublishError>> = Vec::with_capacity(batch.len());
            for publication in batch {
                let row = Row::new(
                    publication.address(),
                    &publication.message,
                    self.handle.max_message,
                );
                results.push(row.map(|row| rows.push(row)));
            }
            if !rows.is_empty()
                && let Err(error) = self.handle.call(Publish { rows }).await
            {
                for result in results.iter_mut().filter(|result| result.is_ok()) {
                    *result = Err(error.clone().into());
                }
            }
            results
        })
    }
}
