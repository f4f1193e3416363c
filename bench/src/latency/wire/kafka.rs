//! Topics of Kafka.

use futures_util::FutureExt as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::StreamConsumer;
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{CHUNK, Observer, Publish, Wired};
use crate::stage::{KafkaStage, headers};

/// A consumer that is in no group.
pub(in crate::latency) struct TopicOut(StreamConsumer);

impl Wired for KafkaStage {
    type Out = TopicOut;

    async fn empty(&mut self) -> anyhow::Result<()> {
        self.delete_all().await
    }

    /// Waits for nothing that could go into the same request.
    fn publish(&self) -> anyhow::Result<Publish> {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("acks", "all")
            .set("linger.ms", "0")
            .create()?;
        Ok(Box::new(move |_, payload| {
            let producer = producer.clone();
            Box::pin(async move {
                let record = FutureRecord::<(), [u8]>::to("in")
                    .payload(&payload)
                    .headers(headers());
                let sent = producer.send_result(record).map_err(|(error, _)| error)?;
                sent.await?.map_err(|(error, _)| error)?;
                Ok(())
            })
        }))
    }

    async fn observe(&self) -> anyhow::Result<TopicOut> {
        Ok(TopicOut(self.out()?))
    }
}

impl Observer for TopicOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let first = self.0.recv().await?;
        let mut payloads = vec![first.payload().unwrap_or_default().to_vec()];
        while payloads.len() < CHUNK
            && let Some(next) = self.0.recv().now_or_never()
        {
            payloads.push(next?.payload().unwrap_or_default().to_vec());
        }
        Ok(payloads)
    }
}
