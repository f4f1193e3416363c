//! Publishing in batches, each confirmed before the next, so that what was counted is in the broker.
//!
//! A batch is what has been read so far, at most [`BATCH`]: a trickle is published as it comes, a file as fast as the
//! broker confirms. With a rate, a batch is what the rate gives in a twentieth of a second.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::time::Instant;

use super::input::{Input, Read};
use crate::cli::failure::{Failure, Result, say_note};
use crate::cli::progress::Progress;
use crate::commit::{Destination, Publication};
use crate::message::Outgoing;
use crate::ports::{PublishError, Publisher};

/// Messages in one batch.
const BATCH: usize = 1024;
/// Bad messages that are named one by one when they are skipped.
const NAMED: u64 = 10;

/// What became of the messages.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Taken by the broker.
    pub(super) confirmed: u64,
    /// Cannot be published, and left out.
    pub(super) skipped: u64,
}

/// Publishes to one destination.
pub(super) struct Sender {
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) destination: Arc<Destination>,
    /// Messages per second at most.
    pub(super) rate: Option<f64>,
    /// Whether bad messages are left out instead of ending it.
    pub(super) skip_bad: bool,
}

impl Sender {
    /// Publishes until the input ends, or something is wrong. `counts` holds in either case.
    pub(super) async fn run(
        &self,
        mut input: Input,
        progress: &mut Progress,
        counts: &mut Counts,
    ) -> Result<()> {
        let started = Instant::now();
        let size = self
            .rate
            .map_or(BATCH, |rate| ((rate / 20.0) as usize).clamp(1, BATCH));
        let mut taken = 0_u64;
        loop {
            let read = input.next(size).await;
            if read.is_empty() {
                return Ok(());
            }
            if let Some(rate) = self.rate {
                tokio::time::sleep_until(started + Duration::from_secs_f64(taken as f64 / rate))
                    .await;
            }
            taken += read.len() as u64;
            let (batch, bad) = self.batch(read, counts);
            let sent = self.send(&batch, progress, counts).await;
            sent.and(bad)?;
        }
    }

    /// The messages up to the first that ends it all, and how it does.
    fn batch(
        &self,
        read: Vec<Result<Read>>,
        counts: &mut Counts,
    ) -> (Vec<(Option<u64>, Publication)>, Result<()>) {
        let mut batch = Vec::with_capacity(read.len());
        for one in read {
            let Read { line, message } = match one {
                Ok(read) => read,
                Err(failure) => return (batch, Err(failure)),
            };
            match message {
                Ok(message) => batch.push((line, self.publication(message))),
                Err(reason) => {
                    if let Err(failure) = self.bad(line, &reason, counts) {
                        return (batch, Err(failure));
                    }
                }
            }
        }
        (batch, Ok(()))
    }

    fn publication(&self, message: Outgoing) -> Publication {
        let id = message
            .id
            .unwrap_or_else(|| ByteString::from(uuid::Uuid::now_v7().to_string()));
        Publication {
            destination: Arc::clone(&self.destination),
            message: Outgoing {
                id: Some(id),
                ..message
            },
        }
    }

    async fn send(
        &self,
        batch: &[(Option<u64>, Publication)],
        progress: &mut Progress,
        counts: &mut Counts,
    ) -> Result<()> {
        let publications: Vec<&Publication> = batch.iter().map(|(_, one)| one).collect();
        let results = self.publisher.publish(&publications).await;
        let mut done = Ok(());
        // All of them are counted: those behind one that was refused may have been taken.
        for ((line, _), result) in batch.iter().zip(results) {
            match result {
                Ok(()) => {
                    counts.confirmed += 1;
                    progress.advance(1);
                }
                Err(PublishError::Message(reason)) => {
                    let bad = self.bad(*line, &reason, counts);
                    done = done.and(bad);
                }
                Err(PublishError::Destination(reason)) => {
                    done = done.and(Err(Failure::new(format!(
                        "{}not confirmed, and nothing behind it is sent: {reason}",
                        place(*line)
                    ))));
                }
            }
        }
        done
    }

    /// A message that cannot be published: skipped, or the end.
    fn bad(&self, line: Option<u64>, reason: &str, counts: &mut Counts) -> Result<()> {
        let place = place(line);
        if !self.skip_bad {
            return Err(Failure::new(format!(
                "{place}{reason} (`--skip-bad` leaves such out)"
            )));
        }
        counts.skipped += 1;
        if counts.skipped <= NAMED {
            say_note(&format!("{place}skipped: {reason}"));
        } else if counts.skipped == NAMED + 1 {
            say_note("more are skipped, which are only counted");
        }
        Ok(())
    }
}

fn place(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}
