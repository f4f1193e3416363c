//! A channel that publishes, and what became of each message.
//!
//! The client ties a returned message to the wrong publication. It keeps what comes back in one line and gives the first
//! of it to whichever confirmation is resolved next (`returned_messages.rs`, `acknowledgement.rs`, lapin 4.12.3); where
//! the server confirms several at once, that is any of them. Taken at its word, a message that reached no queue would be
//! confirmed and another one, which did, would be called unroutable. So what came back is looked for by what it is
//! ([`returned`]), and one batch is published by a channel at a time: when all of a batch are confirmed, all that came
//! back of it has been handed out with one of them.

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};

/// What is published.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Publish<'a> {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) payload: &'a [u8],
}

/// What became of it.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// A queue has it, as safely as it keeps anything.
    Taken,
    /// No queue wanted it; in the server's words.
    Returned(String),
    /// A queue refused it: it is full, or its node is in trouble.
    Refused,
    /// Not known: channel or connection broke.
    Lost(lapin::Error),
}

/// What came back: enough to tell what it was.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Returned {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) reason: String,
}

/// Opens a channel that confirms.
pub(super) async fn channel(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// Publishes in order and waits for each. The channel must be nobody else's meanwhile.
pub(super) async fn publish(channel: &Channel, batch: &[Publish<'_>]) -> Vec<Outcome> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut sent = Vec::with_capacity(batch.len());
    for one in batch {
        let confirm = channel.basic_publish(
            one.exchange.clone(),
            one.routing_key.clone(),
            options,
            one.payload,
            one.properties.clone(),
        );
        sent.push(confirm.await);
    }
    let mut back = Vec::new();
    let confirmed = join_all(sent.into_iter().map(|sent| async {
        match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        }
    }));
    let mut outcomes = Vec::with_capacity(batch.len());
    for confirmation in confirmed.await {
        let (outcome, returned) = match confirmation {
            Ok(Confirmation::Ack(returned)) => (Outcome::Taken, returned),
            Ok(Confirmation::Nack(returned)) => (Outcome::Refused, returned),
            // The channel was opened to confirm; without that nothing is known.
            Ok(Confirmation::NotRequested) => (Outcome::Refused, None),
            Err(error) => (Outcome::Lost(error), None),
        };
        outcomes.push(outcome);
        back.extend(returned.map(|r| Returned {
            reason: format!("{} {}", r.reply_code, r.reply_text),
            exchange: r.delivery.exchange,
            routing_key: r.delivery.routing_key,
            properties: r.delivery.properties,
        }));
    }
    returned(batch, &back, &mut outcomes);
    outcomes
}

/// Finds out what came back. Two that are the same in all that routes them have the same fate, so it does not matter which
/// of them is meant; where nothing fits exactly, whatever went the same way is taken to have come back.
fn returned(batch: &[Publish<'_>], back: &[Returned], outcomes: &mut [Outcome]) {
    for one in back {
        let same_way =
            |p: &Publish<'_>| p.exchange == one.exchange && p.routing_key == one.routing_key;
        let exact = |p: &Publish<'_>| same_way(p) && p.properties == one.properties;
        let found = batch.iter().any(exact);
        for (publish, outcome) in batch.iter().zip(outcomes.iter_mut()) {
            let meant = if found {
                exact(publish)
            } else {
                same_way(publish)
            };
            if meant && !matches!(outcome, Outcome::Lost(_)) {
                *outcome = Outcome::Returned(one.reason.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
