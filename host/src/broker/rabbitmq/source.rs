//! Both halves of an open subscription: what hands messages over, and what settles them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::words;
use super::consumers::qos;
use super::ledger::{Epoch, With};
use super::parking::{Parking, as_it_was, beside, lost, park_and_acknowledge};
use super::step::{Step, step};
use super::subscription::{Live, Subscription};
use super::worker::Fetched;
use crate::delivery::{Delivery, Inbox, Token};
use crate::ports::{BrokerError, Room, Settle, SettleError, Settler, Source};

pub(super) struct RabbitSource {
    pub(super) sub: Arc<Subscription>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) read: Receiver<Fetched>,
    /// Read and not handed over.
    pub(super) ready: VecDeque<Fetched>,
    /// It was said that a fetch waits for messages.
    pub(super) asking: bool,
    pub(super) stopped: CancellationToken,
    /// Ends the worker when source and settler are both gone.
    pub(super) _worker: Arc<DropGuard>,
}

impl RabbitSource {
    fn take(&mut self, room: Room) -> Vec<Delivery> {
        while let Ok(fetched) = self.read.try_recv() {
            self.ready.push_back(fetched);
        }
        let now = Instant::now();
        let mut taken = Vec::with_capacity(room.messages.min(self.ready.len()));
        let mut bytes = 0_usize;
        while taken.len() < room.messages
            && let Some(next) = self.ready.front()
        {
            let size = next.message.size();
            if !taken.is_empty() && bytes.saturating_add(size) > room.bytes {
                break;
            }
            let Some(Fetched { token, message }) = self.ready.pop_front() else {
                break;
            };
            if let Some((since, due)) = self.sub.hand_over(token, now) {
                bytes = bytes.saturating_add(size);
                let mut delivery = Delivery::new(token, message, &self.inbox);
                delivery.arrived(since, due);
                taken.push(delivery);
            }
        }
        taken
    }

    async fn next(&mut self, room: Room) -> Result<Vec<Delivery>, BrokerError> {
        self.sub.offer(room.bytes);
        loop {
            let taken = self.take(room);
            // Nothing that others share is touched while there is something.
            if self.asking != taken.is_empty() {
                self.asking = taken.is_empty();
                self.sub.ask(self.asking);
            }
            if !taken.is_empty() {
                return Ok(taken);
            }
            match self.read.recv().await {
                Some(fetched) => self.ready.push_back(fetched),
                None => {
                    let closed = "rabbitmq: the subscription is closed".to_owned();
                    return Err(BrokerError::Unavailable(closed));
                }
            }
        }
    }

    /// What was read and never handed over goes back as it was, without counting as a delivery. Under an order promise it
    /// stays where it is until the connection ends ([`subscription`](super::subscription)).
    async fn leave(&mut self) {
        self.sub.stopping.cancel();
        if !self.sub.ordered {
            self.give_back().await;
        }
        if self.sub.none_but(std::iter::empty())
            && let Some(live) = self.sub.live()
        {
            // An error: it comes again by the next connection.
            drop(self.sub.applied(&live).await);
        }
    }

    async fn give_back(&mut self) {
        // The worker may be waiting for room to hand over what it has.
        loop {
            tokio::select! {
                () = self.stopped.cancelled() => break,
                Some(fetched) = self.read.recv() => self.ready.push_back(fetched),
            }
        }
        while let Ok(fetched) = self.read.try_recv() {
            self.ready.push_back(fetched);
        }
        let Some(live) = self.sub.live() else { return };
        let tokens: Vec<Token> = self.ready.drain(..).map(|f| f.token).collect();
        let held = tokens
            .into_iter()
            .filter_map(|token| Some((token, self.sub.held(token)?)));
        let batch = held
            .filter(|(_, held)| held.with == With::Source)
            .map(|(token, held)| (token, as_it_was(&self.sub, held)));
        let batch = batch.collect();
        // What could not be moved is the server's when the connection closes.
        drop(park_and_acknowledge(&self.sub, &live, batch).await);
    }
}

impl Source for RabbitSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(self.next(room))
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.leave())
    }
}

pub(super) struct RabbitSettler {
    pub(super) sub: Arc<Subscription>,
    /// Acknowledged by the connection of that epoch at a stop, and it is not known whether the queues have it.
    pub(super) unproven: (Epoch, HashSet<Token>),
    pub(super) _worker: Arc<DropGuard>,
}

impl RabbitSettler {
    async fn carry_out(&mut self, batch: &[Settle]) -> Vec<Result<(), SettleError>> {
        let gone =
            || SettleError::Fenced("rabbitmq: its connection is gone; it comes again".to_owned());
        let mut results = vec![Err(gone()); batch.len()];
        let Some(live) = self.sub.live() else {
            return results;
        };
        let mut accepted = Vec::new();
        let (mut parking, mut parked) = (Vec::new(), Vec::new());
        for (index, settle) in batch.iter().enumerate() {
            let token = settle.token;
            if self.unproven.0 == live.epoch && self.unproven.1.contains(&token) {
                results[index] = Ok(());
                continue;
            }
            let Some(held) = self.sub.held(token) else {
                continue;
            };
            match step(settle.settlement, self.sub.ordered) {
                Step::Acknowledge => accepted.push((index, token)),
                Step::Return {
                    after,
                    attempts,
                    first_failed_ms,
                } => {
                    let due = after.and_then(|after| Instant::now().checked_add(after));
                    self.sub.remember(token, attempts, first_failed_ms, due);
                    self.sub.rewind();
                    results[index] = Ok(());
                }
                Step::Park {
                    tier,
                    attempts,
                    first_failed_ms,
                } => {
                    let beside = beside(&held, attempts, first_failed_ms, held.deliveries);
                    parking.push((token, Parking { held, tier, beside }));
                    parked.push(index);
                }
            }
        }
        let tokens: Vec<Token> = accepted.iter().map(|(_, token)| *token).collect();
        let sent = self.sub.acknowledge(&live, &tokens).await;
        for (index, _) in &accepted {
            results[*index] = sent.as_ref().copied().map_err(|why| lost(why));
        }
        if !parking.is_empty() {
            let done = park_and_acknowledge(&self.sub, &live, parking).await;
            for (index, result) in parked.into_iter().zip(done) {
                results[index] = result;
            }
        }
        if self.sub.stopping.is_cancelled() {
            let dealt_with = self.dealt_with(&live, batch).await;
            self.prove(&live, batch, &mut results, dealt_with);
        }
        results
    }

    /// Takes back what was said of a batch where the server has not answered for it. While the connection stands it is asked
    /// again.
    fn prove(
        &mut self,
        live: &Live,
        batch: &[Settle],
        results: &mut [Result<(), SettleError>],
        dealt_with: lapin::Result<()>,
    ) {
        if self.unproven.0 != live.epoch {
            self.unproven = (live.epoch, HashSet::new());
        }
        let stands = live.connection.status().connected();
        for (settle, result) in batch.iter().zip(results) {
            if result.is_err() {
                continue;
            }
            match &dealt_with {
                Ok(()) => drop(self.unproven.1.remove(&settle.token)),
                Err(error) if stands => {
                    self.unproven.1.insert(settle.token);
                    *result = Err(SettleError::Unavailable(words(error)));
                }
                Err(error) => *result = Err(lost(&words(error))),
            }
        }
    }

    /// Waits until the server has dealt with a batch, and after the last one until its queues have what was settled. While
    /// messages come in, the next batch waits for the one before it.
    async fn dealt_with(&self, live: &Live, batch: &[Settle]) -> lapin::Result<()> {
        if self.sub.none_but(batch.iter().map(|settle| settle.token)) {
            return self.sub.applied(live).await;
        }
        // The server answers a channel in order. It changes nothing for consumers there are.
        qos(&live.channel, 1).await
    }
}

impl Settler for RabbitSettler {
    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            let results = self.carry_out(batch).await;
            let ended = batch.iter().zip(&results);
            let ended = ended.filter(|(_, r)| !matches!(r, Err(SettleError::Unavailable(_))));
            self.sub.ended(ended.map(|(settle, _)| settle.token));
            results
        })
    }
}
