//! The twin on RabbitMQ: a prefetch of two batches, persistent and mandatory publishes that are confirmed together,
//! one acknowledgement for all of a batch. It reads and publishes by connections of their own, as the host does: a
//! server that is short of something blocks the one that publishes.

use anyhow::{Context, ensure};
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    PublisherConfirm,
};

use super::{BATCH, Work};

pub(super) async fn run(url: &str, work: Work) -> anyhow::Result<()> {
    let reading = Connection::connect(url, ConnectionProperties::default()).await?;
    let writing = Connection::connect(url, ConnectionProperties::default()).await?;
    let (channel, outlet) = (
        reading.create_channel().await?,
        writing.create_channel().await?,
    );
    outlet
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let prefetch = u16::try_from(2 * BATCH)?;
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume("in".into(), "twin".into(), options, FieldTable::default())
        .await?;
    let mut before: Option<Sent> = None;
    loop {
        // Nobody else is there: the last batch must not wait for another.
        let ready = consumer.next().now_or_never().flatten();
        let first = match (ready, before.take()) {
            (Some(first), kept) => {
                before = kept;
                first?
            }
            (None, Some(last)) => {
                last.confirmed(&channel).await?;
                continue;
            }
            (None, None) => consumer.next().await.context("the consumer ended")??,
        };
        let batch = batch(first, &mut consumer)?;
        let sent = send(&outlet, batch, work).await?;
        if let Some(before) = before.replace(sent) {
            before.confirmed(&channel).await?;
        }
    }
}

/// All that is there already, up to a batch.
fn batch(first: Delivery, consumer: &mut Consumer) -> anyhow::Result<Vec<Delivery>> {
    let mut batch = vec![first];
    while batch.len() < BATCH
        && let Some(next) = consumer.next().now_or_never().flatten()
    {
        batch.push(next?);
    }
    Ok(batch)
}

/// One batch on its way: the last of its messages, and what will tell that their outputs are there.
struct Sent {
    last: u64,
    confirmations: Vec<PublisherConfirm>,
}

impl Sent {
    async fn confirmed(self, channel: &Channel) -> anyhow::Result<()> {
        for confirmation in self.confirmations {
            let confirmed = confirmation.await?;
            ensure!(
                matches!(confirmed, Confirmation::Ack(None)),
                "{confirmed:?}"
            );
        }
        let all = BasicAckOptions { multiple: true };
        Ok(channel.basic_ack(self.last, all).await?)
    }
}

async fn send(channel: &Channel, batch: Vec<Delivery>, work: Work) -> anyhow::Result<Sent> {
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut confirmations = Vec::with_capacity(batch.len());
    let mut last = 0;
    for message in batch {
        last = message.delivery_tag;
        let output = work.payload(&message.data)?;
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(format!("in/{last}/bench/0").into());
        let properties = match (&output, message.properties.headers()) {
            (Some(_), _) => properties.with_content_type("application/json".into()),
            (None, Some(headers)) => properties.with_headers(headers.clone()),
            (None, None) => properties,
        };
        let payload = output.as_deref().unwrap_or(&message.data);
        let sent = channel.basic_publish("".into(), "out".into(), mandatory, payload, properties);
        confirmations.push(sent.await?);
    }
    Ok(Sent {
        last,
        confirmations,
    })
}
