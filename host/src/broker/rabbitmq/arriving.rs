//! What becomes of a message when it arrives: it is handed on, or moved first into the subscription's own queue.

use std::sync::Arc;

use bytestring::ByteString;
use lapin::message::Delivery;
use tokio::time::Instant;

use super::consumers::Item;
use super::ledger::{Held, With};
use super::link::Pace;
use super::parking::{Parking, beside};
use super::step::{Arrival, Tier, arrival};
use super::subscription::Live;
use super::wire::parked::{self, Parked};
use super::wire::{self, Received};
use super::worker::{Fetched, Worker};
use crate::delivery::Token;
use crate::message::Message;

/// How many messages are moved before they are acknowledged.
const MOVED: usize = 32;

impl Worker {
    /// Hands a message on, or answers that it has to be moved first.
    pub(super) async fn arrived(
        &mut self,
        live: &Live,
        own: bool,
        delivery: Delivery,
        since: Instant,
    ) -> Option<(Token, Parking)> {
        let (held, fate, message) = self.weigh(live, own, delivery, since);
        let token = self.sub.took(held.clone())?;
        if let Arrival::Move(deliveries) = fate {
            let before = Parked::of(&held.received, self.sub.reading(own));
            let beside = beside(&held, before.attempts, before.first_failed_ms, deliveries);
            let tier = None;
            return Some((token, Parking { held, tier, beside }));
        }
        // Where nobody takes it, nobody reads any more.
        let handed = self.read.send(Fetched { token, message });
        drop(self.closing.run_until_cancelled(handed).await);
        None
    }

    /// What a delivery is, and what is to be done with it.
    fn weigh(
        &mut self,
        live: &Live,
        own: bool,
        delivery: Delivery,
        since: Instant,
    ) -> (Held, Arrival, Message) {
        let received = Received::from(delivery);
        let reading = self.sub.reading(own);
        if let Some(tier) = parked::waited_in(&received, reading) {
            self.sub.used(Tier(tier));
        }
        let before = Parked::of(&received, reading);
        let note = self.sub.note(&received);
        let returns = u64::from(note.returns);
        let count = received.delivery_count();
        let count = count.map(|count| count.saturating_sub(returns));
        let fate = arrival(
            before.deliveries,
            count,
            received.redelivered,
            self.sub.ordered,
        );
        let (Arrival::Hand(deliveries) | Arrival::Move(deliveries)) = fate;
        let mut minted: Option<ByteString> = None;
        let mut message = wire::read(&received, reading, deliveries, || {
            let id = ByteString::from(uuid::Uuid::now_v7().to_string());
            minted = Some(id.clone());
            id
        });
        if note.attempts > 0 {
            message.attempts = note.attempts;
            message.first_failed_ms = note.first_failed_ms;
        }
        self.sizes.saw(message.size());
        let held = Held {
            epoch: live.epoch,
            received: Arc::new(received),
            own,
            deliveries: deliveries.saturating_sub(1),
            minted,
            since,
            with: With::Source,
            note,
        };
        (held, fate, message)
    }

    /// What came while the connection was being given up goes back with the rest, and was delivered to nobody.
    pub(super) fn note(&mut self, live: &Live, came: Vec<Item>) {
        for item in came {
            if let Item::Delivered { own, delivery } = item {
                let (held, _, _) = self.weigh(live, own, *delivery, Instant::now());
                self.sub.took(held);
            }
        }
    }

    /// Moves messages into the subscription's own queue, until that is done: while the server takes nothing, what is
    /// behind them waits too. A few at a time: what is put there and not acknowledged yet when the connection breaks is in
    /// both queues afterwards.
    pub(super) async fn moved(&self, live: &Live, mut moves: Vec<(Token, Parking)>) {
        let mut tries = self.tries.clone();
        while !moves.is_empty() {
            let rest = moves.split_off(moves.len().min(MOVED));
            let (tokens, parkings): (Vec<_>, Vec<_>) = moves.into_iter().unzip();
            let results = self.sub.park(live, &parkings).await;
            let (mut taken, mut left) = (Vec::new(), Vec::new());
            let mut why = None;
            for ((token, parking), result) in tokens.into_iter().zip(parkings).zip(results) {
                match result {
                    Ok(()) => taken.push(token),
                    Err(reason) => {
                        why = Some(reason);
                        left.push((token, parking));
                    }
                }
            }
            if self.sub.acknowledge(live, &taken).await.is_err() {
                // They come again by the next connection.
                return live.broken.cancel();
            }
            if !live.connection.status().connected() {
                return live.broken.cancel();
            }
            moves = left;
            moves.extend(rest);
            let Some(reason) = why else { continue };
            tracing::debug!(queue = %self.sub.queue, reason, "rabbitmq: cannot move");
            let wait = tries.failed(Pace::Soon, fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // What is not moved comes again.
                () = self.sub.stopping.cancelled() => return,
                () = self.closing.cancelled() => return,
                () = live.broken.cancelled() => return,
            }
        }
    }
}
