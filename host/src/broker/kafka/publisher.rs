//! Publishing: all of a batch is given to the client at once, then the confirmations of all are waited for ([`Batch`]).
//!
//! A producer that is idempotent can come to a point where it cannot go on (a fatal error). Then it is replaced: what it
//! had not confirmed is reported as the destination's fault, held by the host and published anew.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::confirm::{Batch, Ticket};
use super::statistics::Statistics;
use super::trouble::{Kind, Trouble};
use super::{client, record, wire};
use crate::commit::Publication;
use crate::config::kafka::Kafka;
use crate::ports::{Clock, PublishError, Publisher};

/// Between two tries while the client's queue is full.
const FULL: Duration = Duration::from_millis(5);

/// What the client of a producer calls back.
#[derive(Clone)]
pub(super) struct Reporter {
    trouble: Arc<Trouble>,
}

impl ClientContext for Reporter {
    fn log(&self, _: RDKafkaLogLevel, fac: &str, message: &str) {
        tracing::debug!(fac, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // A fatal one is told by the publications it fails, which replace the producer.
        if error.rdkafka_error_code() != Some(Code::Fatal) {
            self.trouble.told(&error, reason);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if Statistics::read(statistics).is_some_and(|told| told.connected) {
            self.trouble.over(Kind::Connection);
            self.trouble.over(Kind::Membership);
        }
    }
}

impl ProducerContext for Reporter {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.tell(
            result
                .as_ref()
                .map(|_| ())
                .map_err(|(error, _)| error.clone()),
        );
    }
}

type Client = ThreadedProducer<Reporter>;

/// Publishes to one cluster.
pub(super) struct KafkaPublisher {
    kafka: Kafka,
    producer: Mutex<Arc<Client>>,
    reporter: Reporter,
    clock: Clock,
}

impl KafkaPublisher {
    pub(super) fn open(name: &str, kafka: &Kafka) -> KafkaResult<Self> {
        let trouble = Trouble::new(format!("publishing to {name}"));
        trouble.expect(Kind::Connection, "kafka: not connected yet");
        let reporter = Reporter {
            trouble: Arc::new(trouble),
        };
        Ok(Self {
            producer: Mutex::new(started(kafka, &reporter)?),
            kafka: kafka.clone(),
            reporter,
            clock: Clock::system(),
        })
    }

    /// What is wrong just now.
    pub(super) fn trouble(&self) -> Option<String> {
        self.reporter.trouble.now()
    }

    async fn send(
        &self,
        producer: &Client,
        publication: &Publication,
        ticket: Ticket,
    ) -> Result<(), PublishError> {
        let topic = publication.address();
        let written = wire::write(&publication.message, topic, self.clock.now_ms())?;
        let mut one = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, Box::new(ticket));
        one.partition = written.partition;
        one.key = written.key;
        one.payload = written.value;
        one.headers = record::headers(&written.headers);
        loop {
            match producer.send(one) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                    one = back;
                    tokio::time::sleep(FULL).await;
                }
                Err((error, _)) => return Err(refusal(&error, topic)),
            }
        }
    }

    /// Replaces a producer that cannot go on. Another publication may have done it already.
    fn replace_if_dead(&self, used: &Client) {
        let Some((_, reason)) = used.client().fatal_error() else {
            return;
        };
        let mut producer = self.producer.lock();
        if producer.client().fatal_error().is_none() {
            return;
        }
        tracing::warn!(reason, "kafka: the producer cannot go on and is replaced");
        match started(&self.kafka, &self.reporter) {
            Ok(new) => *producer = new,
            Err(error) => tracing::error!(%error, "kafka: the producer cannot be replaced"),
        }
    }
}

fn started(kafka: &Kafka, reporter: &Reporter) -> KafkaResult<Arc<Client>> {
    Client::from_config_and_context(&client::producer(kafka), reporter.clone()).map(Arc::new)
}

/// Whose fault it is, and what to change.
fn refusal(error: &KafkaError, topic: &str) -> PublishError {
    let code = error.rdkafka_error_code();
    let reason = match code {
        Some(code) => code.to_string(),
        None => error.to_string(),
    };
    let text = |advice: &str| format!("kafka: topic `{topic}`: {reason}{advice}");
    match code {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => PublishError::Message(text(
            ": raise `max.message.bytes` of the topic and `message.max.bytes` in `properties` if it is to be taken",
        )),
        Some(Code::UnknownPartition) => {
            PublishError::Message(text(": the topic has no such partition"))
        }
        // Such as one without a key on a compacted topic.
        Some(Code::InvalidMessage | Code::InvalidRecord | Code::InvalidTopic) => {
            PublishError::Message(text(""))
        }
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => PublishError::Destination(
            text(": make the topic, or name it under `declare` of the broker"),
        ),
        Some(Code::TopicAuthorizationFailed) => {
            PublishError::Destination(text(": allow the user to write to it"))
        }
        Some(Code::MessageTimedOut) => PublishError::Destination(text(
            ": not confirmed within `delivery_timeout`, it will be sent again",
        )),
        _ => PublishError::Destination(text("")),
    }
}

impl Publisher for KafkaPublisher {
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            let producer = Arc::clone(&self.producer.lock());
            let confirmed = Batch::new();
            let mut results = Vec::with_capacity(batch.len());
            for (place, publication) in batch.iter().enumerate() {
                let ticket = confirmed.ticket(place);
                results.push(self.send(&producer, publication, ticket).await);
            }
            for (place, error) in confirmed.told().await {
                // One that was not taken in the first place has its reason.
                if results[place].is_ok() {
                    results[place] = Err(refusal(&error, batch[place].address()));
                }
            }
            if results.iter().any(Result::is_err) {
                self.replace_if_dead(&producer);
            }
            results
        })
    }
}
