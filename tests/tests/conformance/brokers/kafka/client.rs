//! A client of Kafka's that knows nothing of Wharf.
//!
//! It asks and waits on threads made for that: a scenario runs on one thread, with its proxy.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use wharf::message::{Header, Outgoing};
use wharf_tests::count::Item;
use wharf_tests::host::{PATIENCE, eventually_or};

use crate::subject::Left;

/// Longest one question may take.
const ANSWER: Duration = Duration::from_secs(10);

pub(super) struct Client {
    config: ClientConfig,
    producer: FutureProducer,
    admin: AdminClient<DefaultClientContext>,
    /// By group: each is asked again and again.
    groups: Mutex<HashMap<String, Arc<BaseConsumer>>>,
}

impl Client {
    pub(super) fn new(bootstrap: &str) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("log_level", "0");
        let mut produce = config.clone();
        produce
            .set("message.max.bytes", "16777216")
            .set("partitioner", "murmur2_random")
            // What is published is in the order in which it is given, also where something is sent twice.
            .set("max.in.flight.requests.per.connection", "1");
        Self {
            producer: produce.create().expect("a client"),
            admin: config.create().expect("a client"),
            config,
            groups: Mutex::default(),
        }
    }

    pub(super) async fn create(&self, topic: &str, largest: usize) {
        let largest = largest.to_string();
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        let new = new.set("max.message.bytes", &largest);
        let made = self.admin.create_topics([&new], &options()).await;
        made.expect("an answer")[0].as_ref().expect("made");
    }

    pub(super) async fn delete(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &options()).await;
        deleted.expect("an answer")[0].as_ref().expect("deleted");
    }

    pub(super) async fn spread(&self, topic: &str, partitions: usize) {
        let more = NewPartitions::new(topic, partitions);
        let made = self.admin.create_partitions([&more], &options()).await;
        made.expect("an answer")[0].as_ref().expect("made");
        // The producer asks once.
        eventually_or("partitions", PATIENCE, async || {
            let (topic, consumer) = (topic.to_owned(), self.member(""));
            let ask = move || consumer_partitions(&consumer, &topic);
            match blocking(ask).await.map(|found| found.len()) {
                Ok(found) if found == partitions => Ok(()),
                found => Err(found),
            }
        })
        .await;
    }

    pub(super) async fn publish(&self, topic: &str, messages: &[Outgoing]) {
        let sent = messages.iter().map(async |message| {
            let mut record = FutureRecord::<[u8], [u8]>::to(topic)
                .payload(&message.payload)
                .headers(headers(message));
            record.key = message.key.as_deref();
            self.producer.send(record, PATIENCE).await
        });
        let published = try_join_all(sent).await;
        published.expect("published");
    }

    pub(super) async fn count(&self, topic: &str) -> u64 {
        let ends = self.ask("", topic, ends).await;
        ends.iter().map(|(_, _, high)| high.unsigned_abs()).sum()
    }

    pub(super) async fn left(&self, topic: &str, group: &str) -> Left {
        self.ask(group, topic, left).await
    }

    /// Who is in a group, once it is shared out among them.
    pub(super) async fn members(&self, group: &str) -> BTreeSet<String> {
        self.ask("", group, members).await
    }

    /// Everything in a topic, partition by partition.
    pub(super) async fn items(&self, topic: &str) -> Vec<Item> {
        let ends = self.ask("", topic, ends).await;
        let mut config = self.config.clone();
        config
            .set("group.id", "stranger")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10");
        let topic = topic.to_owned();
        let all = blocking(move || {
            let consumer: BaseConsumer = config.create()?;
            let mut items = Vec::new();
            for (partition, low, high) in ends {
                let mut list = TopicPartitionList::new();
                list.add_partition_offset(&topic, partition, Offset::Offset(low))?;
                consumer.assign(&list)?;
                let mut next = low;
                while next < high {
                    match consumer.poll(ANSWER) {
                        None => return Err(KafkaError::Canceled),
                        Some(message) => {
                            let message = message?;
                            next = message.offset() + 1;
                            items.push(item(&message));
                        }
                    }
                }
            }
            Ok(items)
        });
        all.await.expect("all that is in it")
    }

    /// Asks until there is an answer: a server that has just come back refuses for a while.
    async fn ask<T: Send + 'static>(
        &self,
        group: &str,
        topic: &str,
        ask: fn(&BaseConsumer, &str) -> KafkaResult<T>,
    ) -> T {
        eventually_or("an answer", PATIENCE, async || {
            let (consumer, topic) = (self.member(group), topic.to_owned());
            blocking(move || ask(&consumer, &topic)).await
        })
        .await
    }

    /// One that is never a member, but can ask what the group has committed.
    fn member(&self, group: &str) -> Arc<BaseConsumer> {
        let mut groups = self.groups.lock().expect("no panic");
        let consumer = groups.entry(group.to_owned()).or_insert_with(|| {
            let mut config = self.config.clone();
            config.set(
                "group.id",
                if group.is_empty() { "stranger" } else { group },
            );
            Arc::new(config.create().expect("a client"))
        });
        Arc::clone(consumer)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(ask).await.expect("no panic")
}

fn consumer_partitions(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let partitions = metadata.topics().iter().flat_map(|t| t.partitions());
    Ok(partitions.map(|p| p.id()).collect())
}

/// Partition, first and next offset of each.
fn ends(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Vec<(i32, i64, i64)>> {
    let partitions = consumer_partitions(consumer, topic)?;
    let ends = partitions.into_iter().map(|partition| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER)?;
        Ok((partition, low, high))
    });
    ends.collect()
}

/// Every change of who they are is a rebalance: the server calls a group stable only when all of them have joined its next
/// generation.
fn members(consumer: &BaseConsumer, group: &str) -> KafkaResult<BTreeSet<String>> {
    let list = consumer.fetch_group_list(Some(group), ANSWER)?;
    let groups = list.groups().iter();
    let stable = groups.filter(|found| found.state() == "Stable");
    let members = stable.flat_map(|found| found.members());
    Ok(members.map(|member| member.id().to_owned()).collect())
}

fn left(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Left> {
    let ends = ends(consumer, topic)?;
    let mut list = TopicPartitionList::new();
    for (partition, _, _) in &ends {
        list.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(list, ANSWER)?;
    let mut left = Left::NOTHING;
    for (partition, low, high) in ends {
        let at = committed.find_partition(topic, partition);
        let at = at.ok_or(KafkaError::Canceled)?;
        at.error()?;
        // The server knows what is committed. What beyond that was delivered it does not know.
        let next = at.offset().to_raw().filter(|offset| *offset >= 0);
        left.waiting += (high - next.unwrap_or(low)).unsigned_abs();
        left.records += records(at.metadata());
    }
    Ok(left)
}

/// Messages whose attempts stand beside an offset, by `docs/wire/kafka.md`.
fn records(text: &str) -> u64 {
    let words = text.split(' ').skip(1);
    words.filter(|word| !word.starts_with('~')).count() as u64
}

fn headers(message: &Outgoing) -> OwnedHeaders {
    let id = message.id.as_deref().expect("an id");
    let mut headers = OwnedHeaders::new().insert(rdkafka::message::Header {
        key: "wharf-id",
        value: Some(id.as_bytes()),
    });
    for header in &message.headers {
        headers = headers.insert(rdkafka::message::Header {
            key: &header.name,
            value: Some(&header.value[..]),
        });
    }
    headers
}

/// A record as any client sees it, by `docs/wire/kafka.md`.
fn item(message: &BorrowedMessage<'_>) -> Item {
    let bytes = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
    let mut item = Item {
        id: format!("{}/{}", message.partition(), message.offset()),
        key: bytes(message.key()),
        headers: Vec::new(),
        payload: bytes(message.payload()).unwrap_or_default(),
    };
    for header in message.headers().into_iter().flat_map(|all| all.iter()) {
        let value = bytes(header.value).unwrap_or_default();
        if header.key == "wharf-id" {
            item.id = String::from_utf8(value.to_vec()).expect("UTF-8");
        } else {
            item.headers.push(Header {
                name: header.key.to_owned().into(),
                value,
            });
        }
    }
    item
}
