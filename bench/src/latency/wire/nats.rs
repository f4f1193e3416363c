//! Streams and subjects of NATS.

use anyhow::{Context as _, anyhow};
use async_nats::Subscriber;
use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;

use super::{Observer, Publish, Wired};
use crate::payload::SIZE;
use crate::stage::{CoreNatsStage, JetStreamStage, header_map, with_id};

/// A consumer that acknowledges nothing.
pub(in crate::latency) struct JetStreamOut(pull::Stream);

/// A subscriber.
pub(in crate::latency) struct SubjectOut(Subscriber);

impl Wired for JetStreamStage {
    type Out = JetStreamOut;

    async fn empty(&mut self) -> anyhow::Result<()> {
        self.context().get_stream("in").await?.purge().await?;
        Ok(())
    }

    fn publish(&self) -> anyhow::Result<Publish> {
        let context = self.context();
        Ok(Box::new(move |_, payload| {
            let context = context.clone();
            Box::pin(async move {
                let sent = context.publish_with_headers("in", header_map(), payload.into());
                sent.await?.await?;
                Ok(())
            })
        }))
    }

    async fn observe(&self) -> anyhow::Result<JetStreamOut> {
        Ok(JetStreamOut(self.out().await?))
    }
}

impl Wired for CoreNatsStage {
    type Out = SubjectOut;

    fn publish(&self) -> anyhow::Result<Publish> {
        let client = self.client();
        Ok(Box::new(move |seq, payload| {
            let client = client.clone();
            Box::pin(async move {
                let sent = client.publish_with_headers("in", with_id(seq), payload.into());
                Ok(sent.await?)
            })
        }))
    }

    async fn observe(&self) -> anyhow::Result<SubjectOut> {
        Ok(SubjectOut(self.client().subscribe("out").await?))
    }
}

impl Observer for JetStreamOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let output = self.0.next().await.context("the consumer ended")?;
        let output = output.map_err(|e| anyhow!("{e}"))?;
        Ok(vec![output.payload.to_vec()])
    }
}

impl Observer for SubjectOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        loop {
            let output = self.0.next().await.context("the subscription ended")?;
            // What is smaller answers the question whether somebody listens.
            if output.payload.len() >= SIZE {
                return Ok(vec![output.payload.to_vec()]);
            }
        }
    }
}
