//! Waiting until the queues have what was acknowledged.
//!
//! The server answers a channel in order, but the channel of a quorum queue only passes acknowledgements on: while 32
//! commands are on their way to the queue, on a disk that is slow, it keeps the others to itself, and forgets them when it
//! is closed (`rabbit_fifo_client`, `unsent_commands`, 3.10 to 4.2). They would come again although nobody crashed.
//!
//! So the queue is asked for a message (`basic.get`), by another channel: it answers after all that was asked of it before,
//! whatever it answers. One with a single active consumer answers that nobody may take from it. By then the channel of the
//! acknowledgements has been told that they arrived, and has passed on what it kept. A consumer is no such question: it
//! would be given what is behind our window as soon as ours ends.
//!
//! Where a leader has just changed, what the channel sent to the old one may still be under way.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::{Channel, message};
use tokio::time::Instant;

use super::connect::{reply_code, within, words};
use super::consumers::qos;
use super::ledger::{Held, With};
use super::notes::Note;
use super::parking::{Parking, as_it_was};
use super::step::{Arrival, arrival};
use super::subscription::{Live, Subscription};
use super::wire::Received;
use super::wire::parked::Parked;

/// How long the queues may take.
const ANSWER: Duration = Duration::from_secs(4);
/// So many frames are never kept: each is one command for every consumer whose messages it settles, and 32 are let through.
const NEVER_KEPT: usize = 8;

/// What a queue gave for an answer.
struct Got {
    by: Channel,
    tag: u64,
    parking: Parking,
}

impl Subscription {
    /// Waits until the server has dealt with every acknowledgement, and its queues have them, where there may be some that
    /// they have not. An error means that this is not known: they may come again.
    pub(super) async fn applied(&self, live: &Live) -> lapin::Result<()> {
        self.asked(live, NEVER_KEPT).await
    }

    /// The same where there is any acknowledgement at all: what the queues send for it has been sent by then.
    pub(super) async fn all_applied(&self, live: &Live) -> lapin::Result<()> {
        self.asked(live, 1).await
    }

    async fn asked(&self, live: &Live, least: usize) -> lapin::Result<()> {
        let mut got = Vec::new();
        let asked = within(ANSWER, self.ask_all(live, least, &mut got)).await;
        // These are in hand, whether or not the rest has answered.
        for got in got {
            let parked = self.park(live, &[got.parking]).await;
            let taken = parked.iter().all(Result::is_ok);
            let end = async {
                if taken {
                    let options = BasicAckOptions::default();
                    got.by.basic_ack(got.tag, options).await?;
                }
                got.by.close(200, "done".into()).await
            };
            within(ANSWER, end).await?;
        }
        asked
    }

    async fn ask_all(&self, live: &Live, least: usize, got: &mut Vec<Got>) -> lapin::Result<()> {
        // The channel has passed it on, or keeps it.
        qos(&live.channel, 1).await?;
        let frames = self.frames();
        if frames < least {
            return Ok(());
        }
        // What is parked below goes into the subscription's own queue: that one is asked before.
        for own in [true, false] {
            if self.may_keep(own) {
                got.extend(self.ask_by_taking(live, own).await?);
            }
        }
        // The channel has heard that the queues have it, and has passed on what it kept.
        qos(&live.channel, 1).await?;
        self.had(frames);
        Ok(())
    }

    /// By a channel of its own: an error takes nothing else with it.
    async fn ask_by_taking(&self, live: &Live, own: bool) -> lapin::Result<Option<Got>> {
        let by = live.connection.create_channel().await?;
        let queue = if own { &self.retry } else { &self.queue };
        match by
            .basic_get(queue.clone(), BasicGetOptions::default())
            .await
        {
            // Where an order is promised its place is where it was.
            Ok(Some(got)) if own || !self.ordered => {
                let tag = got.delivery_tag;
                let parking = self.untouched(live, own, got.delivery);
                return Ok(Some(Got { by, tag, parking }));
            }
            Ok(_) => by.close(200, "done".into()).await?,
            Err(error) if reply_code(&error).is_some() => {
                let answer = words(&error);
                tracing::debug!(%queue, answer, "rabbitmq: has what was acknowledged");
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// It goes back as it was, without counting as a delivery.
    fn untouched(&self, live: &Live, own: bool, got: message::Delivery) -> Parking {
        let received = Received::from(got);
        let before = Parked::of(&received, self.reading(own)).deliveries;
        let (count, redelivered) = (received.delivery_count(), received.redelivered);
        let deliveries = match arrival(before, count, redelivered, self.ordered) {
            Arrival::Hand(deliveries) => deliveries.saturating_sub(1),
            Arrival::Move(deliveries) => deliveries,
        };
        let held = Held {
            epoch: live.epoch,
            received: Arc::new(received),
            own,
            deliveries,
            minted: None,
            since: Instant::now(),
            with: With::Nobody,
            note: Note::default(),
        };
        as_it_was(self, held)
    }
}
