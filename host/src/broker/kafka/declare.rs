//! Topics the configuration declares: made where they are missing, left as they are where they exist.
//!
//! It happens beside everything else. Readers and publishers of a topic that is still to be made wait for it as they would
//! for any other.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::client;
use super::trouble::{Kind, Trouble};
use crate::config::kafka::{Kafka, Topic};

/// How long the servers may take for one step.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const AGAIN: Duration = Duration::from_secs(2);

type Admin = AdminClient<DefaultClientContext>;

/// Tries until all topics are there. What stands in the way is told by `trouble`.
pub(super) async fn all(kafka: Kafka, trouble: Arc<Trouble>) {
    let admin = match Admin::from_config(&client::admin(&kafka)) {
        Ok(admin) => Arc::new(admin),
        Err(error) => return trouble.is(Kind::Fatal, format!("kafka: {error}")),
    };
    let mut left: Vec<(&str, &Topic)> = kafka.declare.iter().map(|(n, t)| (&**n, t)).collect();
    while !left.is_empty() {
        let mut failed = None;
        let mut still = Vec::new();
        for (name, topic) in left {
            match make(&admin, name, topic).await {
                Ok(()) => {}
                Err(reason) => {
                    failed = Some(format!("kafka: topic `{name}` cannot be made: {reason}"));
                    still.push((name, topic));
                }
            }
        }
        left = still;
        match failed {
            None => trouble.over(Kind::Topic),
            Some(reason) => {
                trouble.is(Kind::Topic, reason);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn make(admin: &Arc<Admin>, name: &str, topic: &Topic) -> Result<(), String> {
    let settings = settings(topic);
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
    let replicas = topic.replication.map_or(-1, i32::from);
    let new = settings.iter().fold(
        NewTopic::new(name, partitions, TopicReplication::Fixed(replicas)),
        |new, (key, value)| new.set(key, value),
    );
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let made = admin.create_topics([&new], &options).await;
    let made = made.map_err(|e| e.to_string())?;
    match made.into_iter().next() {
        Some(Ok(_)) => {
            tracing::info!(topic = name, "kafka: made a topic");
            Ok(())
        }
        Some(Err((_, Code::TopicAlreadyExists))) => {
            compare(admin, name, topic, &settings).await;
            Ok(())
        }
        Some(Err((_, code))) => Err(reason(code)),
        None => Err("the server said nothing".to_owned()),
    }
}

fn reason(code: Code) -> String {
    match code {
        Code::InvalidReplicationFactor => {
            format!("{code}: there are fewer brokers than `replication`")
        }
        Code::InvalidConfig => format!("{code}: check `properties` of the topic"),
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            format!("{code}: allow the user to create it, or make it yourself")
        }
        _ => code.to_string(),
    }
}

fn settings(topic: &Topic) -> Vec<(String, String)> {
    let mut all = vec![(
        "cleanup.policy".to_owned(),
        topic.cleanup.as_str().to_owned(),
    )];
    if let Some(retention) = topic.retention {
        all.push(("retention.ms".to_owned(), retention.as_millis().to_string()));
    }
    if let Some(bytes) = topic.retention_bytes {
        all.push(("retention.bytes".to_owned(), bytes.as_u64().to_string()));
    }
    let others = topic.properties.iter();
    all.extend(others.map(|(name, value)| (name.clone(), value.0.clone())));
    all
}

/// Says where a topic that exists is not as declared. Nothing is changed: that is for whoever owns it.
async fn compare(admin: &Arc<Admin>, name: &str, topic: &Topic, settings: &[(String, String)]) {
    match differences(admin, name, topic, settings).await {
        Ok(found) if found.is_empty() => {}
        Ok(found) => tracing::warn!(
            topic = name,
            "kafka: the topic exists and is not as declared, and is left as it is: {}",
            found.join(", ")
        ),
        Err(error) => {
            tracing::debug!(topic = name, %error, "kafka: how the topic is set up is not known");
        }
    }
}

async fn differences(
    admin: &Arc<Admin>,
    name: &str,
    topic: &Topic,
    settings: &[(String, String)],
) -> KafkaResult<Vec<String>> {
    let mut found = Vec::new();
    let (asked, of) = (Arc::clone(admin), name.to_owned());
    let partitions = tokio::task::spawn_blocking(move || partitions(&asked, &of)).await;
    let partitions = partitions.unwrap_or(Err(KafkaError::Canceled))?;
    if partitions != topic.partitions as usize {
        found.push(format!(
            "partitions: {partitions}, declared {}",
            topic.partitions
        ));
    }
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let resources = admin
        .describe_configs([&ResourceSpecifier::Topic(name)], &options)
        .await?;
    for resource in resources.into_iter().flatten() {
        for (key, wanted) in settings {
            let is = resource.get(key).and_then(|entry| entry.value.as_deref());
            if is.is_some_and(|is| is != wanted) {
                found.push(format!(
                    "{key}: {}, declared {wanted}",
                    is.unwrap_or_default()
                ));
            }
        }
    }
    Ok(found)
}

/// Blocks.
fn partitions(admin: &Admin, name: &str) -> KafkaResult<usize> {
    let metadata = admin.inner().fetch_metadata(Some(name), PATIENCE)?;
    let topics = metadata.topics().iter();
    Ok(topics.map(|t| t.partitions().len()).sum())
}
