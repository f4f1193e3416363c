//! Putting messages into the subscription's own queues, from which they come again ([`step`](super::step)): published,
//! confirmed, and only then acknowledged where they came from.

use lapin::types::ShortString;

use super::confirm::{Outcome, Publish};
use super::connect::{advised, told};
use super::ledger::Held;
use super::step::Tier;
use super::subscription::{AT_ONCE, Live, Subscription};
use super::wire;
use super::wire::parked::Parked;
use crate::delivery::Token;
use crate::ports::SettleError;

/// A message that is to wait.
pub(super) struct Parking {
    pub(super) held: Held,
    pub(super) tier: Option<Tier>,
    pub(super) beside: Parked,
}

impl Subscription {
    /// Puts messages into the subscription's own queues. Answers in order; what is wrong where one was not taken.
    pub(super) async fn park(&self, live: &Live, batch: &[Parking]) -> Vec<Result<(), String>> {
        let mut results = Vec::with_capacity(batch.len());
        for chunk in batch.chunks(AT_ONCE) {
            let parked = self.park_some(live, chunk).await;
            results.extend(parked.unwrap_or_else(|reason| vec![Err(reason); chunk.len()]));
        }
        results
    }

    async fn park_some(
        &self,
        live: &Live,
        batch: &[Parking],
    ) -> Result<Vec<Result<(), String>>, String> {
        let outlet = self.outlet.live()?;
        let mut into = Vec::with_capacity(batch.len());
        for one in batch {
            let Some(tier) = one.tier else {
                into.push(self.retry.clone());
                continue;
            };
            let queue = self.holding_of(tier);
            if let Err(error) = outlet.queue(&queue).await {
                let reason = told(&error);
                return Err(format!("rabbitmq: queue `{}`: {reason}", queue.name));
            }
            self.used(tier);
            into.push(queue.name);
        }
        let publishes = batch.iter().zip(into).map(|(one, queue)| {
            let beside = one.beside.clone();
            Publish {
                exchange: ShortString::default(),
                routing_key: queue,
                properties: beside.properties(&one.held.received, self.reading(one.held.own)),
                payload: &one.held.received.payload,
            }
        });
        let publishes: Vec<Publish<'_>> = publishes.collect();
        let frame_max = outlet.frame_max();
        if let Some(wide) = publishes
            .iter()
            .find(|p| wire::too_large(&p.properties, frame_max))
        {
            let id = wide
                .properties
                .message_id()
                .as_ref()
                .map(ShortString::as_str);
            return Err(advised(format!(
                "rabbitmq: message `{}` cannot wait: with what is noted beside it, its headers are larger than a frame ({frame_max} bytes)",
                id.unwrap_or_default()
            )));
        }
        let outcomes = outlet.confirmed(&publishes).await;
        let results = outcomes.into_iter().zip(batch).zip(&publishes);
        let results = results.map(|((outcome, one), publish)| match outcome {
            Some(Outcome::Taken) => Ok(()),
            Some(Outcome::Returned(said)) => {
                match one.tier {
                    Some(tier) => {
                        self.gone(tier);
                        outlet.gone(&publish.routing_key);
                    }
                    // The queue that is read beside the source was deleted: all is declared anew.
                    None => live.broken.cancel(),
                }
                Err(format!("rabbitmq: a queue of its own is gone: {said}"))
            }
            Some(Outcome::Refused) => Err("rabbitmq: a queue of its own refused it".to_owned()),
            Some(Outcome::Lost(error)) => Err(format!("rabbitmq: {}", told(&error))),
            None => Err("rabbitmq: no confirmation".to_owned()),
        });
        Ok(results.collect())
    }
}

/// Goes into the subscription's own queue with what stood beside it: it has not been delivered to anybody.
pub(super) fn as_it_was(sub: &Subscription, held: Held) -> Parking {
    let before = Parked::of(&held.received, sub.reading(held.own));
    let deliveries = held.deliveries;
    let beside = beside(&held, before.attempts, before.first_failed_ms, deliveries);
    let tier = None;
    Parking { held, tier, beside }
}

/// Parks, then acknowledges what was taken. Answers in order.
pub(super) async fn park_and_acknowledge(
    sub: &Subscription,
    live: &Live,
    batch: Vec<(Token, Parking)>,
) -> Vec<Result<(), SettleError>> {
    let (tokens, parkings): (Vec<Token>, Vec<Parking>) = batch.into_iter().unzip();
    let parked = sub.park(live, &parkings).await;
    let taken: Vec<Token> = parked
        .iter()
        .zip(&tokens)
        .filter_map(|(result, token)| result.is_ok().then_some(*token))
        .collect();
    let acknowledged = sub.acknowledge(live, &taken).await;
    let results = parked
        .into_iter()
        .map(|result| match (result, &acknowledged) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(error)) => Err(lost(error)),
            (Err(reason), _) => Err(SettleError::Unavailable(reason)),
        });
    results.collect()
}

/// The connection is going: the message comes again by the next.
pub(super) fn lost(why: &str) -> SettleError {
    SettleError::Fenced(format!("rabbitmq: {why}; it comes again"))
}

/// What stands beside a message that waits.
pub(super) fn beside(
    held: &Held,
    attempts: u32,
    first_failed_ms: Option<u64>,
    deliveries: u32,
) -> Parked {
    Parked {
        attempts,
        first_failed_ms,
        deliveries,
        id: held.minted.clone(),
        ..Parked::default()
    }
}
