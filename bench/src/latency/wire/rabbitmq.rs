//! Queues of RabbitMQ.

use anyhow::Context as _;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};

use super::{Observer, Publish, Wired};
use crate::stage::{RabbitStage, properties};

/// A consumer that acknowledges nothing.
pub(in crate::latency) struct QueueOut {
    consumer: Consumer,
    /// Open for as long as it consumes.
    _connection: Connection,
}

impl Wired for RabbitStage {
    type Out = QueueOut;

    fn publish(&self) -> anyhow::Result<Publish> {
        let channel = self.channel();
        Ok(Box::new(move |_, payload| {
            let channel = channel.clone();
            Box::pin(async move {
                let options = BasicPublishOptions::default();
                let sent =
                    channel.basic_publish("".into(), "in".into(), options, &payload, properties());
                sent.await?.await?;
                Ok(())
            })
        }))
    }

    async fn observe(&self) -> anyhow::Result<QueueOut> {
        let (connection, channel) = self.another_client().await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let table = FieldTable::default();
        let consumer = channel.basic_consume("out".into(), "sees".into(), options, table);
        Ok(QueueOut {
            consumer: consumer.await?,
            _connection: connection,
        })
    }
}

impl Observer for QueueOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let output = self.consumer.next().await.context("the consumer ended")??;
        Ok(vec![output.data])
    }
}
