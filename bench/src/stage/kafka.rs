//! A Kafka of our own, one broker. `in` is filled once; each run reads it as a new group, and its outputs begin where
//! those of the run before ended.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use tempfile::TempDir;
use wharf_tests::kafka_server::KafkaServer;

use super::Stage;
use crate::hosts::Keys;
use crate::payload::{HEADERS, Seen, payload, read};
use crate::twin::Place;

/// Partitions of either topic.
const PARTITIONS: i32 = 4;
/// For one question to the broker.
const PATIENCE: Duration = Duration::from_secs(20);
/// Until the commit that follows the last output is seen.
const COMMITTED: Duration = Duration::from_secs(10);
/// While the client's queue is full.
const FULL: Duration = Duration::from_millis(2);

pub(crate) struct KafkaStage {
    server: KafkaServer,
    /// Asks for ends of partitions. Member of no group.
    asking: BaseConsumer,
    folder: TempDir,
    messages: u64,
    run: u32,
    /// The end of each partition of `out` before this run.
    base: Vec<i64>,
}

impl KafkaStage {
    /// A broker with so many messages in `in`.
    pub(crate) async fn filled(messages: u64) -> anyhow::Result<Self> {
        let server = KafkaServer::start().await;
        for topic in ["in", "out"] {
            server.create_topic(topic, PARTITIONS as u32).await;
        }
        let address = server.bootstrap();
        let filling = address.clone();
        tokio::task::spawn_blocking(move || fill(&filling, messages)).await??;
        let asking = client(&address).create()?;
        let stage = Self {
            server,
            asking,
            folder: tempfile::tempdir()?,
            messages,
            run: 0,
            base: vec![0; PARTITIONS as usize],
        };
        let there: i64 = stage.ends("in")?.iter().sum();
        ensure!(there as u64 == messages, "{there} of {messages} are there");
        Ok(stage)
    }

    fn ends(&self, topic: &str) -> anyhow::Result<Vec<i64>> {
        let end = |partition| Ok(self.asking.fetch_watermarks(topic, partition, PATIENCE)?.1);
        (0..PARTITIONS).map(end).collect()
    }

    /// This run's group.
    fn group_id(&self) -> String {
        format!("bench-{}", self.run)
    }

    pub(crate) fn address(&self) -> String {
        self.server.bootstrap()
    }

    /// Reads the outputs of this run.
    pub(crate) fn out<C: Consumer + FromClientConfig>(&self) -> anyhow::Result<C> {
        let reader: C = client(&self.address()).create()?;
        let mut from = TopicPartitionList::new();
        for (partition, base) in (0..).zip(&self.base) {
            from.add_partition_offset("out", partition, Offset::Offset(*base))?;
        }
        reader.assign(&from)?;
        Ok(reader)
    }

    /// Deletes all that is in `in`.
    pub(crate) async fn delete_all(&self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = client(&self.address()).create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset("in", partition, Offset::End)?;
        }
        let deleted = admin.delete_records(&all, &AdminOptions::new()).await?;
        for partition in deleted.elements() {
            partition.error()?;
        }
        Ok(())
    }

    /// Whether the group of this client has committed all of `in`.
    fn all_committed(&self, group: &BaseConsumer) -> anyhow::Result<bool> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range("in", 0, PARTITIONS - 1);
        let committed = group.committed_offsets(partitions, PATIENCE)?;
        let ends = self.ends("in")?;
        let committed = committed.elements();
        Ok(committed.len() == ends.len()
            && committed.iter().all(|element| {
                let end = ends.get(element.partition() as usize);
                end.is_some_and(|end| element.offset() == Offset::Offset(*end))
            }))
    }
}

fn client(address: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", address)
        .set("group.id", "bench-looks")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "10");
    client
}

/// The headers of every message.
pub(crate) fn headers() -> OwnedHeaders {
    HEADERS
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| {
            let value = Some(*value);
            all.insert(Header { key, value })
        })
}

fn fill(address: &str, messages: u64) -> anyhow::Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()?;
    for seq in 0..messages {
        let payload = payload(seq, 0);
        let mut record = BaseRecord::<(), [u8]>::to("in")
            .partition((seq % PARTITIONS as u64) as i32)
            .payload(&payload)
            .headers(headers());
        while let Err((error, back)) = producer.send(record) {
            ensure!(error.rdkafka_error_code() == Some(Code::QueueFull), error);
            std::thread::sleep(FULL);
            record = back;
        }
    }
    producer.flush(PATIENCE * 3).context("filling")
}

impl Stage for KafkaStage {
    const KEYS: Keys = Keys::both("topic");
    // The client commits every second.
    const SETTLED: Duration = Duration::from_millis(1500);

    fn name(&self) -> &'static str {
        "Kafka"
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        self.base = self.ends("out")?;
        self.run += 1;
        Ok(())
    }

    fn broker(&self) -> serde_json::Value {
        json!({ "type": "kafka", "bootstrap_servers": self.server.bootstrap() })
    }

    fn group(&self) -> Option<String> {
        Some(self.group_id())
    }

    fn place(&self) -> Place {
        Place::Kafka {
            address: self.server.bootstrap(),
            group: self.group_id(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn outputs(&mut self) -> anyhow::Result<u64> {
        let now: i64 = self.ends("out")?.iter().sum();
        Ok((now - self.base.iter().sum::<i64>()) as u64)
    }

    fn server(&self) -> Option<u32> {
        Some(self.server.pid(0))
    }

    async fn check(&mut self) -> anyhow::Result<u64> {
        let reader: BaseConsumer = self.out()?;
        let mut seen = Seen::new(self.messages);
        for _ in 0..self.outputs().await? {
            let output = reader.poll(PATIENCE).context("an output is missing")??;
            seen.note(read(output.payload().unwrap_or_default())?.0)?;
        }
        ensure!(seen.complete()? == 0, "outputs are there more than once");
        let began = tokio::time::Instant::now();
        let group = client(&self.server.bootstrap())
            .set("group.id", self.group_id())
            .create()?;
        while !self.all_committed(&group)? {
            ensure!(began.elapsed() < COMMITTED, "messages are left uncommitted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(0)
    }
}
