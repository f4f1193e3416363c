//! A place in a topic of Kafka: an offset in each of its partitions.

use futures_util::future::BoxFuture;

use super::Following;
use crate::broker::kafka::{KafkaBroker, Reader};
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::message::Message;
use crate::ports::BrokerError;

pub(in crate::cli) struct KafkaTail<'a> {
    broker: &'a KafkaBroker,
    topic: String,
    /// Opened by the first read.
    reader: Option<Reader>,
}

/// What is asked of a reader. It blocks.
type Question = fn(&mut Reader, usize) -> std::result::Result<Vec<Message>, BrokerError>;

impl<'a> KafkaTail<'a> {
    pub(in crate::cli) fn new(broker: &'a KafkaBroker, topic: &str) -> Self {
        Self {
            broker,
            topic: topic.to_owned(),
            reader: None,
        }
    }

    async fn ask(&mut self, question: Question, limit: usize) -> Result<Vec<Record>> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.broker.reader(&self.topic)?,
        };
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question(&mut reader, limit);
            (reader, answer)
        });
        let (reader, answer) = asked
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        self.reader = Some(reader);
        Ok(answer?.into_iter().map(record).collect())
    }
}

/// A message at rest. Its place is partition and offset.
pub(in crate::cli) fn record(message: Message) -> Record {
    let partition = message.origin.partition.unwrap_or_default();
    let position = format!("{partition}/{}", message.origin.position);
    Record {
        position,
        ..Record::from(message)
    }
}

impl Following for KafkaTail<'_> {
    fn newest(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.ask(Reader::newest, limit))
    }

    fn next(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.ask(Reader::next, limit))
    }

    fn wait(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(self.ask(Reader::wait, limit))
    }
}
