//! The broker behind the host's ports, and all that can go wrong there.
//!
//! For an ordered line the answers honour what `ports` asks of an adapter: refusals for the destination are a suffix
//! per address, failed settlements a suffix of the batch, and a commit behind a failed one of its lane is not carried
//! out. Elsewhere each entry of a batch fails on its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::sleep;
use wharf::commit::{Commit, Destination, Publication};
use wharf::delivery::{Delivery, Inbox};
use wharf::ports::{
    BrokerError, Committed, PublishError, Publisher, Room, Settle, SettleError, Settler, Source,
};

use crate::broker::World;

type Shared = Arc<Mutex<World>>;

/// An answer that takes its time.
async fn answer(world: &Shared) {
    let pause = world.lock().pause();
    if !pause.is_zero() {
        sleep(pause).await;
    }
}

/// Reads. What a cancelled fetch has taken stays in `spare` for the next one.
pub struct SimSource {
    pub world: Shared,
    pub inbox: Arc<Inbox>,
    pub spare: Vec<Delivery>,
}

impl Source for SimSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            loop {
                if !self.spare.is_empty() {
                    let most = room.messages.min(self.spare.len());
                    return Ok(self.spare.drain(..most).collect());
                }
                let news = Arc::clone(&self.world.lock().news);
                let heard = news.notified();
                tokio::pin!(heard);
                heard.as_mut().enable();
                let (found, now) = {
                    let mut world = self.world.lock();
                    let now = world.now();
                    world.called("fetch");
                    if world.fault() {
                        return Err(BrokerError::Refused("scripted".to_owned()));
                    }
                    (world.deliver(room, &self.inbox), now)
                };
                match found {
                    Ok(deliveries) => {
                        self.spare = deliveries;
                        answer(&self.world).await;
                    }
                    Err(None) => heard.await,
                    Err(Some(at)) => {
                        let wait = at.saturating_sub(now).max(Duration::from_millis(1));
                        let _woken = tokio::time::timeout(wait, heard).await;
                    }
                }
            }
        })
    }
}

/// Settles.
pub struct SimSettler {
    pub world: Shared,
}

fn unavailable() -> SettleError {
    SettleError::Unavailable("scripted".to_owned())
}

impl World {
    fn settle_one(&mut self, settle: &Settle) -> Result<(), SettleError> {
        let now = self.now();
        self.asks(settle.token);
        if !self.setup.up("settle", now) || self.fault() {
            self.asks_in_vain(settle.token);
            return Err(unavailable());
        }
        if self.setup.fences && self.fault() {
            self.fence(settle.token);
        }
        let result = self.settle(settle.token, settle.settlement);
        if result.is_ok() && self.ambiguous() {
            self.seen.ambiguous += 1;
            return Err(unavailable());
        }
        result
    }

    fn commit_one(&mut self, commit: &Commit) -> Committed {
        let now = self.now();
        if !self.setup.up("settle", now) || self.fault() {
            self.asks_in_vain(commit.parcel.token);
            return Committed::NotSettled(unavailable());
        }
        for (place, publication) in commit.publications.iter().enumerate() {
            if let Err(error) = self.takes(publication) {
                return Committed::NotPublished(place, error);
            }
        }
        let Some(_owner) = self.owner(commit.parcel.token) else {
            return Committed::NotSettled(SettleError::Fenced("it is not yours".to_owned()));
        };
        for publication in &commit.publications {
            self.append(publication);
        }
        match self.settle(commit.parcel.token, commit.settlement) {
            Ok(()) if self.ambiguous() => {
                self.seen.ambiguous += 1;
                Committed::NotSettled(unavailable())
            }
            Ok(()) => Committed::Done,
            Err(error) => Committed::NotSettled(error),
        }
    }

    /// Whether a publication would be taken now.
    fn takes(&mut self, publication: &Publication) -> Result<(), PublishError> {
        let now = self.now();
        if !self.setup.up(&publication.destination.broker, now) || self.fault() {
            self.seen.outages += 1;
            return Err(PublishError::Destination("scripted".to_owned()));
        }
        if self.refuses(publication) {
            return Err(PublishError::Message("scripted: too large".to_owned()));
        }
        Ok(())
    }
}

impl Settler for SimSettler {
    fn atomic_with(&self, destination: &Destination) -> bool {
        self.world.lock().setup.atomic && &*destination.broker == "home"
    }

    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        Box::pin(async move {
            answer(&self.world).await;
            let results = {
                let mut world = self.world.lock();
                world.called("commit");
                let mut failed = HashSet::new();
                let one = |commit: &&Commit| {
                    if commit.lane.is_some_and(|lane| failed.contains(&lane)) {
                        return Committed::NotSettled(unavailable());
                    }
                    let result = world.commit_one(commit);
                    if result != Committed::Done {
                        failed.extend(commit.lane);
                    }
                    result
                };
                batch.iter().map(one).collect()
            };
            answer(&self.world).await;
            results
        })
    }

    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            answer(&self.world).await;
            let results = {
                let mut world = self.world.lock();
                world.called("settle");
                let ordered = world.setup.ordered();
                let mut failed = false;
                let one = |settle: &Settle| {
                    if ordered && failed {
                        world.asks(settle.token);
                        return Err(unavailable());
                    }
                    let result = world.settle_one(settle);
                    failed |= matches!(result, Err(SettleError::Unavailable(_)));
                    result
                };
                batch.iter().map(one).collect()
            };
            answer(&self.world).await;
            results
        })
    }
}

/// Publishes to one of the two brokers.
pub struct SimPublisher {
    pub world: Shared,
}

impl Publisher for SimPublisher {
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            answer(&self.world).await;
            let results = {
                let mut world = self.world.lock();
                world.called("publish");
                let ordered = world.setup.ordered();
                let mut failed = HashSet::new();
                let one = |publication: &&Publication| {
                    if ordered && failed.contains(publication.address()) {
                        return Err(PublishError::Destination("behind".to_owned()));
                    }
                    let mut result = world.takes(publication);
                    if result.is_ok() {
                        world.append(publication);
                        if world.ambiguous() {
                            world.seen.ambiguous += 1;
                            world.repeats(publication);
                            result = Err(PublishError::Destination("ambiguous".to_owned()));
                        }
                    }
                    if matches!(result, Err(PublishError::Destination(_))) {
                        failed.insert(publication.address().to_owned());
                    }
                    result
                };
                batch.iter().map(one).collect()
            };
            answer(&self.world).await;
            results
        })
    }
}
