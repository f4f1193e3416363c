//! A topic and a group of a test's own, and what Kafka says about them to a client that knows nothing of Wharf.

use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;
use wharf::broker::kafka::KafkaBroker;
use wharf::config::kafka::Kafka;
use wharf::ports::SubscriptionSpec;
use wharf_tests::kafka_server::KafkaServer;

use crate::support::{Host, LOOK, PATIENCE, group_of, host_of, numbered, publish, spec_of};

/// A topic and a group of a test's own, at a server.
pub struct Ground {
    pub server: Arc<KafkaServer>,
    pub topic: String,
    pub group: String,
}

/// A client of Kafka's that knows nothing of Wharf.
pub fn foreign(bootstrap: &str, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("log_level", "0");
    config
}

impl Ground {
    /// At the server that is shared.
    pub async fn new(name: &str, partitions: i32) -> Self {
        Self::at(KafkaServer::shared().await, name, partitions).await
    }

    /// At a server of the test's own.
    pub async fn at(server: Arc<KafkaServer>, name: &str, partitions: i32) -> Self {
        let ground = Self {
            server,
            topic: name.to_owned(),
            group: group_of(name),
        };
        ground.make(name, partitions).await;
        ground
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        let config = foreign(&self.server.bootstrap(), &self.group);
        AdminClient::from_config(&config).expect("a client")
    }

    /// Makes a topic.
    pub async fn make(&self, name: &str, partitions: i32) {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let made = self.admin().create_topics([&new], &options).await;
        made.expect("an answer")[0].as_ref().expect("made");
    }

    pub fn spec(&self) -> SubscriptionSpec {
        spec_of(&self.topic)
    }

    pub fn kafka(&self) -> Kafka {
        Kafka::new(self.server.bootstrap())
    }

    pub fn broker(&self) -> KafkaBroker {
        KafkaBroker::open("bus", &self.kafka()).expect("a good configuration")
    }

    pub async fn host(&self) -> Host {
        self.host_with(self.spec()).await
    }

    pub async fn host_with(&self, spec: SubscriptionSpec) -> Host {
        host_of(&self.kafka(), spec).await
    }

    /// Publishes messages of these numbers.
    pub async fn fill(&self, broker: &KafkaBroker, numbers: std::ops::Range<usize>) {
        let all = numbers.map(numbered);
        for result in publish(broker, &self.topic, all).await {
            result.expect("published");
        }
    }

    /// What a client of its own commits for partition 0: an offset, and a text beside it.
    pub async fn commit(&self, offset: i64, text: &str) {
        let config = foreign(&self.server.bootstrap(), &self.group);
        let (topic, text) = (self.topic.clone(), text.to_owned());
        let commit = move || {
            let client: BaseConsumer = config.create().expect("a client");
            let mut list = TopicPartitionList::new();
            let mut one = list.add_partition(&topic, 0);
            one.set_offset(Offset::Offset(offset)).expect("an offset");
            one.set_metadata(text);
            client.commit(&list, CommitMode::Sync).expect("committed");
        };
        tokio::task::spawn_blocking(commit)
            .await
            .expect("committed");
    }

    /// Waits until the text beside the committed offset of partition 0 is so.
    pub async fn text_is(&self, wanted: impl Fn(&str) -> bool) {
        let config = foreign(&self.server.bootstrap(), &self.group);
        let client: Arc<BaseConsumer> = Arc::new(config.create().expect("a client"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (asked, topic) = (Arc::clone(&client), self.topic.clone());
            let ask = move || {
                let mut list = TopicPartitionList::new();
                list.add_partition(&topic, 0);
                let found = asked.committed_offsets(list, PATIENCE).expect("an answer");
                found.elements()[0].metadata().to_owned()
            };
            let text = tokio::task::spawn_blocking(ask).await.expect("an answer");
            if wanted(&text) {
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} stands there");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What is before the group, over all partitions of its topic: asked by a client of Kafka's own.
    pub async fn lag(&self) -> i64 {
        let config = foreign(&self.server.bootstrap(), &self.group);
        let topic = self.topic.clone();
        let asked = move || lag_of(&config, &topic);
        tokio::task::spawn_blocking(asked).await.expect("an answer")
    }
}

fn lag_of(config: &ClientConfig, topic: &str) -> i64 {
    let client: BaseConsumer = config.create().expect("a client");
    let metadata = client.fetch_metadata(Some(topic), PATIENCE);
    let metadata = metadata.expect("an answer");
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition(topic, partition.id());
    }
    let committed = client.committed_offsets(list, PATIENCE).expect("an answer");
    let behind = committed.elements().into_iter().map(|one| {
        let (low, high) = client
            .fetch_watermarks(topic, one.partition(), PATIENCE)
            .expect("an answer");
        high - one.offset().to_raw().filter(|at| *at >= 0).unwrap_or(low)
    });
    behind.sum()
}
