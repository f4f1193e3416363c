//! Waiting until the queues have what was acknowledged.
//!
//! The server answers a channel in order, but the channel of a quorum queue only passes acknowledgements on: while 32 of
//! them are on their way to the queue, on a disk that is slow, it keeps the others to itself, and forgets them when it is
//! closed (`rabbit_fifo_client`, `unsent_commands`). They would come again although nobody crashed. A queue answers by
//! itself who takes a message out of it, or who begins to consume, after all that was asked of it before.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicGetOptions};
use lapin::types::FieldTable;
use lapin::{Channel, message};
use tokio::time::Instant;

use super::connect::{within, words};
use super::consumers::qos;
use super::ledger::{Held, With};
use super::notes::Note;
use super::parking::{Parking, as_it_was};
use super::step::{Arrival, arrival};
use super::subscription::{Live, Subscription};
use super::wire::Received;
use super::wire::parked::Parked;

/// How long a queue may take.
const ANSWER: Duration = Duration::from_secs(10);

impl Subscription {
    /// Waits until the queues have all that was acknowledged. A queue that cannot be asked is not waited for; an error
    /// means that the connection is going or gone.
    pub(super) async fn applied(&self, live: &Live) -> lapin::Result<()> {
        // The channel has passed it on, or keeps it.
        qos(&live.channel, 1).await?;
        if let Err(error) = within(ANSWER, self.ask_queues(live)).await {
            let reason = words(&error);
            tracing::debug!(queue = %self.queue, reason, "rabbitmq: does not say what it has");
        }
        // The channel has heard that the queues have it, and has passed on what it kept.
        qos(&live.channel, 1).await
    }

    /// By a channel of its own: an error takes nothing else with it.
    async fn ask_queues(&self, live: &Live) -> lapin::Result<()> {
        let channel = live.connection.create_channel().await?;
        if self.ordered {
            // It has a single active consumer, which is ours: another one gets nothing.
            let options = BasicConsumeOptions::default();
            let (queue, table) = (self.queue.clone(), FieldTable::default());
            channel
                .basic_consume(queue, "".into(), options, table)
                .await?;
        } else {
            self.ask_by_taking(live, &channel, false).await?;
        }
        self.ask_by_taking(live, &channel, true).await?;
        channel.close(200, "done".into()).await
    }

    /// Whatever comes is put back as it was, without counting as a delivery.
    async fn ask_by_taking(&self, live: &Live, channel: &Channel, own: bool) -> lapin::Result<()> {
        let queue = if own { &self.retry } else { &self.queue };
        let got = channel.basic_get(queue.clone(), BasicGetOptions::default());
        let Some(got) = got.await? else { return Ok(()) };
        let tag = got.delivery_tag;
        let parking = self.untouched(live, own, got.delivery);
        if self.park(live, &[parking]).await.iter().all(Result::is_ok) {
            channel.basic_ack(tag, BasicAckOptions::default()).await?;
        }
        Ok(())
    }

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
