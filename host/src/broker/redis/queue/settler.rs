//! The half of a subscription to a list or a sorted set that tells the server what became of its messages.
//!
//! As for streams one script per batch does all of it: checks that we have not been taken over from, that each item is
//! still ours, publishes, and removes or releases it. No crash can come between.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio_util::sync::DropGuard;

use super::Queue;
use super::ledger::Held;
use super::record::Record;
use crate::broker::redis::output::{Output, can_be_undone};
use crate::broker::redis::publisher;
use crate::broker::redis::settler::{ARGS, BATCH, BYTES, encode, no_longer_ours, results};
use crate::commit::{Commit, Destination, Publication, Settlement};
use crate::ports::{Committed, Settle, SettleError, Settler};

/// Keys of ours that stand before those of destinations.
const OURS: usize = 5;

pub(in crate::broker::redis) struct QueueSettler {
    /// That of the place, if it is one, and last that of what is redriven. Each knows its own tokens.
    pub(super) queues: Vec<Arc<Queue>>,
    /// See [`QueueSource`](super::source::QueueSource).
    pub(super) _lease: Arc<DropGuard>,
}

/// One settlement on its way, with its place in the answer.
struct Item<'a> {
    at: usize,
    settle: Settle,
    held: Held,
    outputs: Vec<Output<'a>>,
    bytes: usize,
    /// An output cannot be in one script with the settlement: it has too many fields, or lies in another slot.
    apart: bool,
}

impl QueueSettler {
    async fn run<'a>(
        &self,
        batch: impl ExactSizeIterator<Item = (Settle, &'a [Publication])>,
    ) -> Vec<Committed> {
        let unknown = SettleError::Unavailable("redis gave no answer".into());
        let mut answers = vec![Committed::NotSettled(unknown); batch.len()];
        let mut items: Vec<Vec<Item<'a>>> = self.queues.iter().map(|_| Vec::new()).collect();
        for (at, (settle, publications)) in batch.enumerate() {
            let lane = settle.token.0 as usize % 2;
            let lane = lane.min(self.queues.len() - 1);
            let held = self.queues[lane].ledger.lock().settling(settle.token);
            match (held, encode(publications)) {
                (None, _) => answers[at] = Committed::NotSettled(no_longer_ours()),
                (Some(_), Err((index, e))) => answers[at] = Committed::NotPublished(index, e),
                (Some(held), Ok(outputs)) => items[lane].push(Item {
                    at,
                    settle,
                    held,
                    apart: outputs.iter().any(|o| self.queues[lane].is_apart(o)),
                    bytes: outputs.iter().map(Output::bytes).sum(),
                    outputs,
                }),
            }
        }
        let lanes = self.queues.iter().zip(items);
        let chunks: Vec<_> = lanes
            .flat_map(|(queue, items)| chunks(items).into_iter().map(move |chunk| (queue, chunk)))
            .collect();
        let runs = chunks.iter().map(|(queue, chunk)| queue.chunk(chunk));
        for ((queue, chunk), results) in chunks.iter().zip(join_all(runs).await) {
            queue.book(chunk, &results);
            for (item, result) in chunk.iter().zip(results) {
                answers[item.at] = result;
            }
        }
        answers
    }
}

impl Queue {
    /// Whether an output to that place can be in one step with a settlement.
    fn beside(&self, place: &str) -> bool {
        self.data.endpoint.together(&self.keys.place, place)
    }

    fn is_apart(&self, output: &Output<'_>) -> bool {
        output.args() > ARGS || !self.beside(output.place())
    }

    /// Notes in the ledger what happened.
    fn book(&self, chunk: &[Item<'_>], results: &[Committed]) {
        let (mut released, mut fenced) = (false, false);
        let mut ledger = self.ledger.lock();
        for (item, result) in chunk.iter().zip(results) {
            match result {
                Committed::Done => {
                    released |= matches!(item.settle.settlement, Settlement::Release { .. });
                    ledger.end(item.settle.token);
                }
                Committed::NotSettled(SettleError::Fenced(_)) => {
                    fenced = true;
                    ledger.end(item.settle.token);
                }
                _ => {}
            }
        }
        drop(ledger);
        if released {
            self.wake.notify_one();
        }
        if fenced {
            self.doubt.notify_one();
        }
    }

    async fn chunk(&self, chunk: &[Item<'_>]) -> Vec<Committed> {
        if let [only] = chunk
            && only.apart
        {
            // Published first, then settled.
            let published = publisher::send(&self.data, &only.outputs).await;
            let failed = published.into_iter().enumerate();
            let mut failed = failed.filter_map(|(at, result)| Some((at, result.err()?)));
            if let Some((at, error)) = failed.next() {
                return vec![Committed::NotPublished(at, error)];
            }
            return self.script(chunk, false).await;
        }
        self.script(chunk, true).await
    }

    async fn script(&self, chunk: &[Item<'_>], outputs: bool) -> Vec<Committed> {
        let consumer = self.ledger.lock().identity().consumer;
        let held = self.keys.held(&consumer);
        let keys = &self.keys;
        let mut keys: Vec<&str> = vec![&keys.items, &keys.kept, &keys.due, &keys.hosts, &held];
        if outputs {
            for output in chunk.iter().flat_map(|item| &item.outputs) {
                if !keys[OURS..].contains(&output.place()) {
                    keys.push(output.place());
                }
            }
        }
        let script = &self.scripts.queue.settle;
        let mut cmd = script.call(&keys);
        cmd.arg(&*consumer).arg(chunk.len());
        for item in chunk {
            arguments(&mut cmd, item, &keys, outputs);
        }
        match script.run(&self.data, &cmd).await {
            Ok(answer) => results(chunk.len(), answer),
            Err(e) => {
                let text = self.data.error(&e).to_string();
                let unavailable = Committed::NotSettled(SettleError::Unavailable(text));
                vec![unavailable; chunk.len()]
            }
        }
    }
}

/// Splits a batch by number and by size. What is published apart stands alone.
fn chunks(items: Vec<Item<'_>>) -> Vec<Vec<Item<'_>>> {
    let mut chunks: Vec<Vec<Item<'_>>> = Vec::new();
    let (mut open, mut bytes) = (Vec::new(), 0);
    for item in items {
        if item.apart {
            chunks.push(vec![item]);
            continue;
        }
        if open.len() == BATCH || (!open.is_empty() && bytes + item.bytes > BYTES) {
            chunks.push(std::mem::take(&mut open));
            bytes = 0;
        }
        bytes += item.bytes;
        open.push(item);
    }
    chunks.push(open);
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

/// The arguments of one commit, as `settle.lua` reads them.
fn arguments(cmd: &mut redis::Cmd, item: &Item<'_>, keys: &[&str], outputs: bool) {
    cmd.arg(&*item.held.id);
    match item.settle.settlement {
        Settlement::Accept => {
            cmd.arg("a");
        }
        Settlement::Release {
            after,
            attempts,
            first_failed_ms,
        } => {
            let record = Record {
                attempts,
                first_failed_ms,
                ..item.held.record.clone()
            };
            let after = after.unwrap_or(Duration::ZERO).as_millis();
            cmd.arg("r");
            match record == Record::default() {
                true => cmd.arg(""),
                false => cmd.arg(record.to_string()),
            };
            cmd.arg(u64::try_from(after).unwrap_or(u64::MAX));
        }
    }
    if !outputs {
        cmd.arg(0);
        return;
    }
    cmd.arg(item.outputs.len());
    for output in &item.outputs {
        // Keys are counted from one there.
        let key = keys[OURS..].iter().position(|k| *k == output.place());
        cmd.arg(key.unwrap_or(0) + OURS + 1);
        cmd.arg(output.verb()).arg(output.args());
        output.write(cmd);
    }
}

impl Settler for QueueSettler {
    fn atomic_with(&self, destination: &Destination) -> bool {
        *destination.broker == *self.queues[0].options.name
            && can_be_undone(destination)
            && self.queues[0].beside(&destination.address)
    }

    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        let commits = batch.iter();
        let commits = commits.map(|c| (Settle::from(*c), c.publications.as_slice()));
        Box::pin(self.run(commits))
    }

    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            let committed = self.run(batch.iter().map(|s| (*s, [].as_slice()))).await;
            let settled = committed.into_iter().map(|c| match c {
                Committed::Done => Ok(()),
                Committed::NotSettled(e) => Err(e),
                // Without outputs there is nothing to publish.
                Committed::NotPublished(_, e) => Err(SettleError::Unavailable(e.to_string())),
            });
            settled.collect()
        })
    }
}
