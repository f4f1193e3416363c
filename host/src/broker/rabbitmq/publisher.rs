//! Publishes outputs and dead letters, by the [`outlet`](super::outlet).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::types::ShortString;

use super::confirm::{Outcome, Publish};
use super::connect::{advised, reply_code, told, words};
use super::outlet::Outlet;
use super::wire::{self, short};
use crate::commit::Publication;
use crate::place::PlaceKind;
use crate::ports::{Clock, PublishError, Publisher};

/// See the module.
pub(super) struct RabbitPublisher {
    outlet: Arc<Outlet>,
    clock: Clock,
    /// How long a connection is waited for that was not there yet.
    wait: Duration,
}

impl RabbitPublisher {
    pub(super) fn new(outlet: Arc<Outlet>) -> Self {
        Self {
            outlet,
            clock: Clock::system(),
            wait: Duration::ZERO,
        }
    }

    /// One that waits for the connection.
    pub(super) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    async fn send(&self, batch: &[&Publication]) -> Vec<Result<(), PublishError>> {
        if !self.wait.is_zero()
            && let Err(reason) = self.outlet.connected(self.wait).await
        {
            return vec![Err(PublishError::Destination(reason)); batch.len()];
        }
        let live = match self.outlet.live() {
            Ok(live) => live,
            Err(reason) => return vec![Err(PublishError::Destination(reason)); batch.len()],
        };
        let now_ms = self.clock.now_ms();
        let frame_max = live.frame_max();
        let mut results: Vec<Result<(), PublishError>> = vec![Ok(()); batch.len()];
        let mut sent = Vec::with_capacity(batch.len());
        let mut missing: HashMap<ShortString, PublishError> = HashMap::new();
        for (index, publication) in batch.iter().enumerate() {
            let result = match publish_of(publication, now_ms, frame_max) {
                Ok(publish) if missing.contains_key(&publish.exchange) => {
                    Err(missing[&publish.exchange].clone())
                }
                Ok(publish) => match live.exchange(&publish.exchange).await {
                    Ok(()) => {
                        sent.push((index, publish));
                        Ok(())
                    }
                    Err(error) => {
                        self.outlet.missed();
                        let error = no_exchange(&publish.exchange, &told(&error));
                        missing.insert(publish.exchange, error.clone());
                        Err(error)
                    }
                },
                Err(error) => Err(error),
            };
            results[index] = result;
        }
        let (places, publishes): (Vec<usize>, Vec<Publish<'_>>) = sent.into_iter().unzip();
        if publishes.is_empty() {
            return results;
        }
        let outcomes = live.confirmed(&publishes).await;
        let largest = publishes.iter().map(|p| p.payload.len()).max();
        for ((place, publish), outcome) in places.iter().zip(&publishes).zip(outcomes) {
            results[*place] = match outcome {
                Some(outcome) => {
                    if matches!(outcome, Outcome::Returned(_)) {
                        self.outlet.missed();
                    }
                    judged(publish, batch[*place], outcome, largest)
                }
                None => Err(PublishError::Destination(self.outlet.why_not())),
            };
        }
        results
    }
}

fn no_exchange(name: &ShortString, said: &str) -> PublishError {
    PublishError::Destination(format!("rabbitmq: exchange {name}: {said}"))
}

/// Exchange and routing key of a publication. The default exchange takes the name of a queue for a routing key. A message
/// that names its own topic names the routing key, which for a queue is another queue.
fn address(publication: &Publication) -> (&str, &str) {
    let to = &publication.destination;
    let over = publication.message.topic.as_deref();
    match to.kind {
        PlaceKind::Exchange => {
            let key = to.routing_key.as_deref().unwrap_or_default();
            (&to.address, over.unwrap_or(key))
        }
        _ => ("", over.unwrap_or(&to.address)),
    }
}

fn publish_of(
    publication: &Publication,
    now_ms: u64,
    frame_max: u32,
) -> Result<Publish<'_>, PublishError> {
    let (exchange, key) = address(publication);
    let Some(exchange) = short(exchange) else {
        let problem = "rabbitmq: the name of an exchange has at most 255 bytes";
        return Err(PublishError::Message(problem.to_owned()));
    };
    let written = wire::write(&publication.message, key, now_ms)?;
    if wire::too_large(&written.properties, frame_max) {
        let problem = advised(format!(
            "its headers are larger than a frame ({frame_max} bytes)"
        ));
        return Err(PublishError::Message(format!("rabbitmq: {problem}")));
    }
    Ok(Publish {
        exchange,
        routing_key: written.routing_key,
        properties: written.properties,
        payload: written.payload,
    })
}

/// Whose fault it is. A queue that is configured and missing is a missing destination; a message that names its own way
/// and finds no queue there is unroutable.
fn judged(
    publish: &Publish<'_>,
    publication: &Publication,
    outcome: Outcome,
    largest: Option<usize>,
) -> Result<(), PublishError> {
    let way = format!("rabbitmq: {}/{}", publish.exchange, publish.routing_key);
    let configured = publish.exchange.as_str().is_empty() && publication.message.topic.is_none();
    match outcome {
        Outcome::Taken => Ok(()),
        Outcome::Returned(said) if configured => {
            let said = advised(format!("there is no such queue ({said})"));
            Err(PublishError::Destination(format!("{way}: {said}")))
        }
        Outcome::Returned(said) => {
            let said = advised(format!("no queue wants it ({said})"));
            Err(PublishError::Message(format!("{way}: {said}")))
        }
        Outcome::Refused => {
            let said = "a queue refused it: it is full, or cannot keep it now";
            let said = advised(said.to_owned());
            Err(PublishError::Destination(format!("{way}: {said}")))
        }
        Outcome::Lost(error) => {
            let said = words(&error);
            // The server says so of one message and closes the channel for all: the largest is one of those meant.
            let too_large = reply_code(&error) == Some(406) && said.contains("larger than");
            let text = format!("{way}: {}", advised(said));
            Err(if too_large && Some(publish.payload.len()) == largest {
                PublishError::Message(text)
            } else {
                PublishError::Destination(text)
            })
        }
    }
}

impl Publisher for RabbitPublisher {
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(self.send(batch))
    }
}
