//! The twin on Kafka: a polling thread, an idempotent producer with all its confirmations awaited together, offsets
//! stored when the outputs of their batch are confirmed and committed by the client every second, as the host's are.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::mpsc;

use super::{BATCH, Work};

/// For the first message of a batch.
const POLL: Duration = Duration::from_millis(100);
/// While the client's queue is full.
const FULL: Duration = Duration::from_millis(1);

pub(super) async fn run(address: &str, group: &str, work: Work) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "1000")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    consumer.subscribe(&["in"])?;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "1")
        .create()?;

    let consumer = Arc::new(consumer);
    let (hand_over, mut batches) = mpsc::channel(1);
    let polling = Arc::clone(&consumer);
    let reading = std::thread::spawn(move || read(&polling, &hand_over));
    let mut before: Option<Sent> = None;
    while let Some(batch) = batches.recv().await {
        let sent = send(&producer, batch, work).await?;
        if let Some(before) = before.replace(sent) {
            before.confirmed(&consumer).await?;
        }
        // Nobody else is there: the last batch must not wait for another.
        if batches.is_empty()
            && let Some(last) = before.take()
        {
            last.confirmed(&consumer).await?;
        }
    }
    reading
        .join()
        .map_err(|_| anyhow::anyhow!("the reader panicked"))?
}

/// Polls full batches while there is something, and never waits to fill one.
fn read(
    consumer: &BaseConsumer,
    hand_over: &mpsc::Sender<Vec<OwnedMessage>>,
) -> anyhow::Result<()> {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let mut wait = POLL;
        while batch.len() < BATCH
            && let Some(message) = consumer.poll(wait)
        {
            batch.push(message?.detach());
            wait = Duration::ZERO;
        }
        if !batch.is_empty() && hand_over.blocking_send(batch).is_err() {
            return Ok(());
        }
    }
}

/// One batch on its way: its messages, and what will tell that their outputs are there.
struct Sent {
    batch: Vec<OwnedMessage>,
    confirmations: Vec<DeliveryFuture>,
}

impl Sent {
    async fn confirmed(self, consumer: &BaseConsumer) -> anyhow::Result<()> {
        for confirmation in self.confirmations {
            let delivered = confirmation.await.context("the producer is gone")?;
            delivered.map_err(|(error, _)| error)?;
        }
        // In the order they were read, so that the last of each partition stands in the end.
        let mut last = std::collections::BTreeMap::new();
        for message in &self.batch {
            last.insert(message.partition(), message.offset());
        }
        for (partition, offset) in last {
            consumer.store_offset("in", partition, offset)?;
        }
        Ok(())
    }
}

async fn send(
    producer: &FutureProducer,
    batch: Vec<OwnedMessage>,
    work: Work,
) -> anyhow::Result<Sent> {
    let mut confirmations = Vec::with_capacity(batch.len());
    for message in &batch {
        let read = message.payload().context("no payload")?;
        let id = format!("in/{}/{}/bench/0", message.partition(), message.offset());
        let mut headers = OwnedHeaders::new().insert(header("wharf-id", id.as_bytes()));
        let output = work.payload(read)?;
        match &output {
            Some(_) => headers = headers.insert(header("content-type", b"application/json")),
            None => {
                for kept in message.headers().into_iter().flat_map(|all| all.iter()) {
                    headers = headers.insert(header(kept.key, kept.value.unwrap_or_default()));
                }
            }
        }
        let mut record = FutureRecord::<(), [u8]>::to("out")
            .payload(output.as_deref().unwrap_or(read))
            .headers(headers);
        confirmations.push(loop {
            match producer.send_result(record) {
                Ok(confirmation) => break confirmation,
                Err((error, back)) => {
                    ensure!(error.rdkafka_error_code() == Some(Code::QueueFull), error);
                    tokio::time::sleep(FULL).await;
                    record = back;
                }
            }
        });
    }
    Ok(Sent {
        batch,
        confirmations,
    })
}

fn header<'a>(key: &'a str, value: &'a [u8]) -> Header<'a, &'a [u8]> {
    Header {
        key,
        value: Some(value),
    }
}
