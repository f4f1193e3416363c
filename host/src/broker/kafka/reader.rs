//! Looks into a topic without consuming from it: no group, no offsets. For commands; every call blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::metadata::Kept;
use super::wire::{self, Reading};
use super::{client, record};
use crate::config::kafka::Kafka;
use crate::message::Message;
use crate::ports::BrokerError;

/// How long the servers may be silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the client is asked at a time.
const POLL: Duration = Duration::from_millis(100);

/// A place in every partition of one topic, moved on by reading.
pub struct Reader {
    consumer: BaseConsumer,
    topic: Arc<str>,
    reading: Reading,
    /// The next offset, by partition, since the first read.
    at: BTreeMap<i32, i64>,
    /// Partitions read to their end.
    ended: BTreeSet<i32>,
}

/// Where each partition begins and ends.
type Extent = BTreeMap<i32, (i64, i64)>;

impl Reader {
    pub(super) fn open(broker: &Arc<str>, kafka: &Kafka, topic: &str) -> Result<Self, BrokerError> {
        Ok(Self {
            consumer: client::reader(kafka).create().map_err(super::refused)?,
            topic: topic.into(),
            reading: Reading {
                broker: Arc::clone(broker),
                subscription: "".into(),
                group: "".into(),
            },
            at: BTreeMap::new(),
            ended: BTreeSet::new(),
        })
    }

    /// How many messages there are, as far as offsets tell.
    pub fn count(&self) -> Result<u64, BrokerError> {
        let extent = self.extent()?;
        let lengths = extent.values().map(|(low, high)| high.abs_diff(*low));
        Ok(lengths.sum())
    }

    /// The newest `limit` messages, oldest of them first. The place is then behind them.
    pub fn newest(&mut self, limit: usize) -> Result<Vec<Message>, BrokerError> {
        let back = i64::try_from(limit).unwrap_or(i64::MAX);
        let from = |(partition, (low, high)): (i32, (i64, i64))| (partition, low.max(high - back));
        let from = self.extent()?.into_iter().map(from).collect();
        self.go_to(from)?;
        let mut found = self.read(usize::MAX, false)?;
        found.sort_by_key(|message| message.timestamp_ms);
        Ok(found.split_off(found.len().saturating_sub(limit)))
    }

    /// The next messages that are there, at most `limit`; none at the end. Begins with the oldest of each partition.
    pub fn next(&mut self, limit: usize) -> Result<Vec<Message>, BrokerError> {
        if self.at.is_empty() {
            let low = |(partition, (low, _))| (partition, low);
            let from = self.extent()?.into_iter().map(low).collect();
            self.go_to(from)?;
        }
        self.read(limit, false)
    }

    /// As `next`, but waits a while at the end.
    pub fn wait(&mut self, limit: usize) -> Result<Vec<Message>, BrokerError> {
        if self.at.is_empty() {
            return self.next(limit);
        }
        self.read(limit, true)
    }

    /// At most `limit` messages behind the place `after`, partition by partition.
    pub fn behind(
        &mut self,
        after: Option<(i32, i64)>,
        limit: usize,
    ) -> Result<Vec<Message>, BrokerError> {
        let mut found = Vec::new();
        for (partition, (low, high)) in self.extent()? {
            let from = match after {
                Some((last, _)) if partition < last => continue,
                Some((last, offset)) if partition == last => low.max(offset + 1),
                _ => low,
            };
            if from < high {
                self.go_to(BTreeMap::from([(partition, from)]))?;
                found.extend(self.read(limit - found.len(), false)?);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    fn extent(&self) -> Result<Extent, BrokerError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), PATIENCE);
        let metadata = metadata.map_err(unavailable)?;
        // One that does not exist has no partitions.
        let partitions = metadata.topics().iter().flat_map(|t| t.partitions());
        partitions
            .map(|p| {
                let ends = self
                    .consumer
                    .fetch_watermarks(&self.topic, p.id(), PATIENCE);
                Ok((p.id(), ends.map_err(unavailable)?))
            })
            .collect()
    }

    fn go_to(&mut self, from: BTreeMap<i32, i64>) -> Result<(), BrokerError> {
        let mut list = TopicPartitionList::with_capacity(from.len());
        for (partition, offset) in &from {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))
                .map_err(unavailable)?;
        }
        self.consumer.assign(&list).map_err(unavailable)?;
        self.ended.clear();
        self.at = from;
        Ok(())
    }

    /// Until `limit`, or the end of all partitions; with `wait`, until something came or a while is over.
    fn read(&mut self, limit: usize, wait: bool) -> Result<Vec<Message>, BrokerError> {
        let mut found = Vec::new();
        let mut heard = Instant::now();
        while found.len() < limit && (wait || self.ended.len() < self.at.len()) {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let record = record::read(&message, &self.topic);
                    self.ended.remove(&record.partition);
                    self.at.insert(record.partition, message.offset() + 1);
                    found.push(wire::read(&record, &self.reading, Kept::default(), 0));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    self.ended.insert(partition);
                }
                Some(Err(error)) if is_final(&error) => return Err(unavailable(error)),
                Some(Err(_)) | None if wait => break,
                Some(Err(_)) | None if heard.elapsed() > PATIENCE => {
                    return Err(BrokerError::Unavailable(
                        "kafka: the servers do not answer".to_owned(),
                    ));
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(found)
    }
}

fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::TopicAuthorizationFailed | Code::Authentication | Code::UnknownTopicOrPartition)
    )
}

fn unavailable(error: KafkaError) -> BrokerError {
    BrokerError::Unavailable(format!("kafka: {error}"))
}
