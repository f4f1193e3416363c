//! The half of a subscription that tells the server what became of its messages.
//!
//! One script per batch does all of it: checks that we have not been taken over from, checks that each entry is still
//! ours, publishes, acknowledges, keeps attempts. So a commit is one round trip shared by up to [`BATCH`] others, and
//! no crash can come between its parts.
//!
//! Bounded by [`BATCH`] commits and [`BYTES`] per script, because the server does nothing else meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use redis::{RedisError, Value};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::connection::{advised, is_code};
use super::entry;
use super::ledger::{Held, Lane};
use super::output::{Output, can_be_undone};
use super::publisher;
use super::subscription::Subscription;
use crate::commit::{Commit, Destination, Publication, Settlement};
use crate::ports::{Committed, PublishError, Settle, SettleError, Settler};

/// Commits per script.
pub(super) const BATCH: usize = 128;
/// Bytes of outputs per script; one commit may exceed it.
pub(super) const BYTES: usize = 1 << 20;
/// Arguments one command in a script may have: what the server's Lua can unpack, with a margin.
pub(super) const ARGS: usize = 7000;

pub(super) struct RedisSettler {
    pub(super) sub: Arc<Subscription>,
    /// See [`RedisSource`](super::source::RedisSource).
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

impl RedisSettler {
    async fn run<'a>(
        &self,
        batch: impl ExactSizeIterator<Item = (Settle, &'a [Publication])>,
    ) -> Vec<Committed> {
        let mut answers: Vec<Option<Committed>> = Vec::with_capacity(batch.len());
        let mut items = Vec::with_capacity(batch.len());
        let consumer = {
            let mut ledger = self.sub.ledger.lock();
            for (at, (settle, publications)) in batch.enumerate() {
                let answer = match (ledger.settling(settle.token), encode(publications)) {
                    (None, _) => Some(Committed::NotSettled(no_longer_ours())),
                    (Some(_), Err((index, e))) => Some(Committed::NotPublished(index, e)),
                    (Some(held), Ok(outputs)) => {
                        items.push(Item {
                            at,
                            settle,
                            held,
                            bytes: outputs.iter().map(|o| o.bytes()).sum(),
                            apart: outputs
                                .iter()
                                .any(|o| o.args() > ARGS || !self.beside(o.place())),
                            outputs,
                        });
                        None
                    }
                };
                answers.push(answer);
            }
            ledger.identity().consumer
        };
        let chunks = chunks(items);
        let runs = chunks.iter().map(|chunk| self.chunk(&consumer, chunk));
        for (chunk, results) in chunks.iter().zip(join_all(runs).await) {
            self.book(chunk, &results);
            for (item, result) in chunk.iter().zip(results) {
                answers[item.at] = Some(result);
            }
        }
        answers
            .into_iter()
            .map(|a| {
                a.unwrap_or_else(|| {
                    Committed::NotSettled(SettleError::Unavailable("redis gave no answer".into()))
                })
            })
            .collect()
    }

    /// Whether an output to this stream can be in one step with a settlement.
    fn beside(&self, stream: &str) -> bool {
        let endpoint = &self.sub.data.endpoint;
        endpoint.together(self.sub.stream(Lane::Main), stream)
    }

    /// Notes in the ledger what happened.
    fn book(&self, chunk: &[Item<'_>], results: &[Committed]) {
        let now = Instant::now();
        let mut released = false;
        let mut fenced = false;
        let mut ledger = self.sub.ledger.lock();
        for (item, result) in chunk.iter().zip(results) {
            match (result, item.settle.settlement) {
                (Committed::Done, Settlement::Accept) => ledger.end(item.settle.token),
                (Committed::Done, Settlement::Release { after, .. }) => {
                    ledger.release(item.settle.token, now, after.unwrap_or(Duration::ZERO));
                    released = true;
                }
                (Committed::NotSettled(SettleError::Fenced(_)), _) => {
                    ledger.end(item.settle.token);
                    fenced = true;
                }
                _ => {}
            }
        }
        drop(ledger);
        if released {
            self.sub.parked.notify_one();
        }
        if fenced {
            self.sub.doubt.notify_one();
        }
    }

    async fn chunk(&self, consumer: &str, chunk: &[Item<'_>]) -> Vec<Committed> {
        if let [only] = chunk
            && only.apart
        {
            return vec![self.apart(consumer, only).await];
        }
        self.script(consumer, chunk, true).await
    }

    /// A commit with an output that cannot be in the script: all are published first, then it is settled.
    async fn apart(&self, consumer: &str, item: &Item<'_>) -> Committed {
        let published = publisher::send(&self.sub.data, &item.outputs).await;
        if let Some((index, e)) = published
            .into_iter()
            .enumerate()
            .find_map(|(i, r)| r.err().map(|e| (i, e)))
        {
            return Committed::NotPublished(index, e);
        }
        self.script(consumer, std::slice::from_ref(item), false)
            .await
            .pop()
            .unwrap_or_else(|| Committed::NotSettled(no_longer_ours()))
    }

    async fn script(&self, consumer: &str, chunk: &[Item<'_>], outputs: bool) -> Vec<Committed> {
        let Some(first) = chunk.first() else {
            return Vec::new();
        };
        let lane = first.held.place.lane;
        let mut keys = vec![
            self.sub.stream(lane),
            self.sub.hosts.as_str(),
            self.sub.attempts(lane),
        ];
        if outputs {
            for output in chunk.iter().flat_map(|i| &i.outputs) {
                if !keys[3..].contains(&output.place()) {
                    keys.push(output.place());
                }
            }
        }
        let script = &self.sub.scripts.settle;
        let mut cmd = script.call(&keys);
        let ids = chunk.iter().map(|i| i.held.place.id);
        let (low, high) = ids.fold((first.held.place.id, first.held.place.id), |(l, h), id| {
            (l.min(id), h.max(id))
        });
        cmd.arg(&*self.sub.group)
            .arg(consumer)
            .arg(chunk.len())
            .arg(low.to_string())
            .arg(high.to_string())
            .arg(u8::from(lane == Lane::Retry));
        for item in chunk {
            arguments(&mut cmd, item, &keys, outputs);
        }
        match script.run(&self.sub.data, &cmd).await {
            Ok(answer) => results(chunk.len(), answer),
            // A key that the user may not touch refuses the whole script: the others are not to suffer for one of them.
            Err(e) if is_code(&e, "NOPERM") && outputs => match chunk {
                [only] if only.outputs.is_empty() => self.failed(chunk, &e),
                [_] => {
                    let text = self.sub.data.error(&e).to_string();
                    let refused = PublishError::Destination(text);
                    vec![Committed::NotPublished(0, refused)]
                }
                _ => self.one_by_one(consumer, chunk).await,
            },
            Err(e) => self.failed(chunk, &e),
        }
    }

    async fn one_by_one(&self, consumer: &str, chunk: &[Item<'_>]) -> Vec<Committed> {
        let mut results = Vec::with_capacity(chunk.len());
        for item in chunk {
            // Boxed, because it is the same step again.
            results.extend(Box::pin(self.script(consumer, std::slice::from_ref(item), true)).await);
        }
        results
    }

    fn failed(&self, chunk: &[Item<'_>], error: &RedisError) -> Vec<Committed> {
        let text = self.sub.data.error(error).to_string();
        chunk
            .iter()
            .map(|_| Committed::NotSettled(SettleError::Unavailable(text.clone())))
            .collect()
    }
}

pub(super) fn no_longer_ours() -> SettleError {
    SettleError::Fenced(
        "the entry is pending for another consumer, or no longer pending at all".into(),
    )
}

pub(super) fn encode(
    publications: &[Publication],
) -> Result<Vec<Output<'_>>, (usize, PublishError)> {
    publications
        .iter()
        .enumerate()
        .map(|(i, p)| Output::new(p).map_err(|e| (i, e)))
        .collect()
}

/// Splits a batch by stream, by number and by size. What is published apart stands alone.
fn chunks(items: Vec<Item<'_>>) -> Vec<Vec<Item<'_>>> {
    let mut chunks: Vec<Vec<Item<'_>>> = Vec::new();
    let mut open: [(Vec<Item<'_>>, usize); 2] = [(Vec::new(), 0), (Vec::new(), 0)];
    for item in items {
        if item.apart {
            chunks.push(vec![item]);
            continue;
        }
        let (chunk, bytes) = &mut open[item.held.place.lane.index()];
        if chunk.len() == BATCH || (!chunk.is_empty() && *bytes + item.bytes > BYTES) {
            chunks.push(std::mem::take(chunk));
            *bytes = 0;
        }
        *bytes += item.bytes;
        chunk.push(item);
    }
    chunks.extend(open.into_iter().map(|(c, _)| c).filter(|c| !c.is_empty()));
    chunks
}

/// What is kept of a released message beside when it is due, read by [`recovery`](super::recovery).
pub(super) fn record(attempts: u32, first_failed_ms: Option<u64>) -> String {
    match first_failed_ms {
        Some(first) => format!("{attempts}@{first}"),
        None => attempts.to_string(),
    }
}

/// The arguments of one commit, as `settle.lua` reads them.
fn arguments(cmd: &mut redis::Cmd, item: &Item<'_>, keys: &[&str], outputs: bool) {
    cmd.arg(item.held.place.id.to_string());
    match item.settle.settlement {
        Settlement::Accept => {
            cmd.arg(if item.held.recorded { "d" } else { "a" });
        }
        Settlement::Release {
            after,
            attempts,
            first_failed_ms,
        } => {
            let after = after.unwrap_or(Duration::ZERO).as_millis();
            cmd.arg("r")
                // Kept as one word; the script does not look into it.
                .arg(record(attempts, first_failed_ms))
                .arg(u64::try_from(after).unwrap_or(u64::MAX));
        }
    }
    if !outputs {
        cmd.arg(0);
        return;
    }
    cmd.arg(item.outputs.len());
    for output in &item.outputs {
        // Keys are counted from one there; the first three are ours.
        let key = keys[3..]
            .iter()
            .position(|k| *k == output.place())
            .unwrap_or(0)
            + 4;
        cmd.arg(key).arg(output.verb()).arg(output.args());
        output.write(cmd);
    }
}

/// Takes the script's answer apart: what it does not name, is done.
pub(super) fn results(count: usize, answer: Value) -> Vec<Committed> {
    if matches!(&answer, Value::SimpleString(s) if s == "FENCED") {
        return (0..count)
            .map(|_| Committed::NotSettled(no_longer_ours()))
            .collect();
    }
    let mut results: Vec<Committed> = (0..count).map(|_| Committed::Done).collect();
    for row in entry::items(answer).unwrap_or_default() {
        if let Some((index, result)) = exception(row)
            && let Some(place) = results.get_mut(index)
        {
            *place = result;
        }
    }
    results
}

fn exception(row: Value) -> Option<(usize, Committed)> {
    let mut row = entry::items(row)?.into_iter();
    let index = usize::try_from(entry::int(&row.next()?)?)
        .ok()?
        .checked_sub(1)?;
    let result = match entry::text(row.next()?)?.as_str() {
        "F" => Committed::NotSettled(no_longer_ours()),
        "P" => {
            let output = usize::try_from(entry::int(&row.next()?)?)
                .ok()?
                .checked_sub(1)?;
            let said = entry::text(row.next()?)?;
            let text = format!("redis: {}", advised(said));
            Committed::NotPublished(output, PublishError::Destination(text))
        }
        _ => {
            let said = entry::text(row.next()?)?;
            let text = format!("redis: {}", advised(said));
            Committed::NotSettled(SettleError::Unavailable(text))
        }
    };
    Some((index, result))
}

impl Settler for RedisSettler {
    fn atomic_with(&self, destination: &Destination) -> bool {
        destination.broker == self.sub.options.name
            && can_be_undone(destination)
            && self.beside(&destination.address)
    }

    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        Box::pin(
            self.run(
                batch
                    .iter()
                    .map(|c| (Settle::from(*c), c.publications.as_slice())),
            ),
        )
    }

    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            self.run(batch.iter().map(|s| (*s, [].as_slice())))
                .await
                .into_iter()
                .map(|c| match c {
                    Committed::Done => Ok(()),
                    Committed::NotSettled(e) => Err(e),
                    // Without outputs there is nothing to publish.
                    Committed::NotPublished(_, e) => Err(SettleError::Unavailable(e.to_string())),
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests;
