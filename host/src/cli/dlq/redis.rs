//! Dead letters in Redis: each message is moved by one script, so that it is in one place at any time.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::letters::{Letters, Move};
use super::target::Target;
use crate::broker::redis::RedisBroker;
use crate::cli::failure::Result;
use crate::cli::record::Record;
use crate::commit::{Destination, Publication};
use crate::config::Config;
use crate::place::PlaceKind;
use crate::ports::{Broker as _, PayloadFrom};

/// Dead letters are written by the host, whatever the original stream looks like.
fn payload() -> PayloadFrom {
    PayloadFrom::Field("payload".into())
}

/// A Redis server, and what the places of dead letters are there.
pub(in crate::cli) struct RedisLetters {
    pub(in crate::cli) broker: RedisBroker,
    kinds: HashMap<String, PlaceKind>,
    /// How many were removed from a list or a sorted set since the walk over it began.
    gone: Mutex<HashMap<String, u64>>,
}

impl RedisLetters {
    pub(in crate::cli) fn new(config: &Config, broker: RedisBroker) -> Self {
        let mut kinds = HashMap::new();
        for target in Target::all(config) {
            if target.home == broker.name() {
                kinds.insert(target.retry(), target.kind);
            }
            if let Some(of) = config.brokers.get(broker.name())
                && target.at.broker == broker.name()
            {
                let kind = of.places().dead_letter(target.at.named);
                kinds.insert(target.at.name, kind);
            }
        }
        Self {
            broker,
            kinds,
            gone: Mutex::default(),
        }
    }

    fn kind(&self, place: &str) -> PlaceKind {
        self.kinds.get(place).copied().unwrap_or(PlaceKind::Stream)
    }

    fn gone(&self, place: &str) -> u64 {
        self.gone.lock().get(place).copied().unwrap_or(0)
    }

    /// Removes one item, and publishes it elsewhere in the same step.
    async fn take_out(&self, from: &str, at: &str, to: Option<&Publication>) -> Result<bool> {
        let (kind, gone) = (self.kind(from), self.gone(from));
        let done = self.broker.take_out(kind, from, at, gone, to).await?;
        if done {
            *self.gone.lock().entry(from.to_owned()).or_default() += 1;
        }
        Ok(done)
    }
}

impl Letters for RedisLetters {
    fn count<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            Ok(match self.kind(place) {
                PlaceKind::Stream => self.broker.len(place).await?,
                kind => self.broker.items(kind, place).await?,
            })
        })
    }

    fn browse<'a>(
        &'a self,
        place: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let kind = self.kind(place);
            let found = match kind {
                PlaceKind::Stream => {
                    let payload = payload();
                    self.broker.browse(place, &payload, after, limit).await?
                }
                _ => {
                    let behind = after.and_then(|at| at.split_once(':')?.0.parse::<u64>().ok());
                    if behind.is_none() {
                        self.gone.lock().remove(place);
                    }
                    let gone = self.gone(place);
                    let skip = behind.map_or(0, |at| (at + 1).saturating_sub(gone));
                    self.broker.look(kind, place, skip, gone, limit).await?
                }
            };
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
            let destination = Destination::new("retry", self.broker.name(), self.kind(to), to);
            let destination = Arc::new(destination);
            let mut moved = 0;
            for one in moves {
                let publication = Publication {
                    destination: Arc::clone(&destination),
                    message: one.message.clone(),
                };
                let at = &one.position;
                let done = match self.kind(from) {
                    PlaceKind::Stream => self.broker.redrive(from, at, &publication).await?,
                    _ => self.take_out(from, at, Some(&publication)).await?,
                };
                moved += u64::from(done);
            }
            Ok(moved)
        })
    }

    fn delete<'a>(&'a self, place: &'a str, positions: &'a [String]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            if self.kind(place) == PlaceKind::Stream {
                return Ok(self.broker.delete(place, positions).await?);
            }
            let mut deleted = 0;
            for at in positions {
                deleted += u64::from(self.take_out(place, at, None).await?);
            }
            Ok(deleted)
        })
    }
}
