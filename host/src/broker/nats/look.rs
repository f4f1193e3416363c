//! Looks into streams, for commands: message by message, by their numbers.
//!
//! No consumer is made for it. So nothing is taken from anybody, and a work queue, which allows no second consumer, can be
//! looked into like any other stream.

use std::time::Duration;

use async_nats::jetstream::context::GetStreamByNameErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, DeleteMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use futures_util::TryStreamExt as _;

use super::wire::{self, Beside, Place, Reading, Received};
use super::{NatsBroker, declare};
use crate::config::nats::name_problem;
use crate::message::Message;
use crate::ports::BrokerError;

/// How long a connection may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// All of a stream.
const ALL: &str = ">";
/// Numbers looked at in the first step backwards, where messages have been deleted between them.
const STEP: u64 = 64;

/// What lies in a stream: all of it, or what is on a subject.
pub struct Shelf {
    context: Context,
    stream: Stream<()>,
    name: String,
    subject: String,
}

fn unavailable(what: &str, error: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Unavailable(format!("nats: {what}: {error}"))
}

impl NatsBroker {
    async fn context(&self) -> Result<Context, BrokerError> {
        let connected = tokio::time::timeout(PATIENCE, self.link.connected()).await;
        match connected {
            Ok((client, _)) => Ok(jetstream::new(client)),
            Err(_) => Err(BrokerError::Unavailable(self.link.why_not())),
        }
    }

    /// What the stream of that name holds, or what lies on that subject in the stream that holds it; `None` where there is
    /// neither.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn shelf(&self, place: &str) -> Result<Option<Shelf>, BrokerError> {
        let context = self.context().await?;
        if name_problem(place).is_none() {
            let found = declare::find(&context, place).await;
            if found.map_err(|e| unavailable(place, &e))?.is_some() {
                return Self::open_shelf(context, place.to_owned(), ALL)
                    .await
                    .map(Some);
            }
        }
        self.letters(place).await
    }

    /// What lies on a subject; `None` where no stream holds it.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn letters(&self, subject: &str) -> Result<Option<Shelf>, BrokerError> {
        let context = self.context().await?;
        match context.stream_by_subject(subject).await {
            Ok(name) => Self::open_shelf(context, name, subject).await.map(Some),
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(subject, &error)),
        }
    }

    async fn open_shelf(context: Context, name: String, on: &str) -> Result<Shelf, BrokerError> {
        let stream = context.get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| unavailable(&name, &error))?;
        Ok(Shelf {
            context,
            stream,
            name,
            subject: on.to_owned(),
        })
    }

    /// Makes the stream in which a subscription's messages come back, where it is missing.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn make(&self, retry: &str) -> Result<(), BrokerError> {
        let context = self.context().await?;
        let wanted = declare::coming_back(retry, &Config::default());
        let name = &wanted.name;
        let there = declare::find(&context, name).await;
        if there.map_err(|e| unavailable(name, &e))?.is_none() {
            let made = declare::ensure(&context, &wanted).await;
            made.map_err(|e| unavailable(name, &e))?;
        }
        Ok(())
    }
}

impl Shelf {
    /// How many messages there are.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn count(&self) -> Result<u64, BrokerError> {
        let info = self.stream.info_with_subjects(&self.subject).await;
        let info = info.map_err(|error| unavailable(&self.name, &error))?;
        let all = info.try_fold(0, |sum, (_, count)| async move { Ok(sum + count as u64) });
        all.await.map_err(|error| unavailable(&self.name, &error))
    }

    /// The number of the last message of the stream.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn end(&self) -> Result<u64, BrokerError> {
        let info = self.stream.get_info().await;
        Ok(info
            .map_err(|error| unavailable(&self.name, &error))?
            .state
            .last_sequence)
    }

    /// At most `limit` messages behind the number `after`, oldest first; none at the end.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn behind(&self, mut after: u64, limit: usize) -> Result<Vec<Message>, BrokerError> {
        let mut found = Vec::new();
        while found.len() < limit {
            let next = self
                .stream
                .get_first_raw_message_by_subject(&self.subject, after + 1);
            match next.await {
                Ok(message) => {
                    after = message.sequence;
                    found.push(self.read(message));
                }
                Err(error) if is_missing(&error) => break,
                Err(error) => return Err(unavailable(&self.name, &error)),
            }
        }
        Ok(found)
    }

    /// The newest messages up to the number `end`, at most `limit`, oldest of them first.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn newest(&self, end: u64, limit: usize) -> Result<Vec<Message>, BrokerError> {
        let mut step = STEP.max(limit as u64);
        loop {
            let after = end.saturating_sub(step);
            let room = usize::try_from(end - after).unwrap_or(usize::MAX);
            let mut found = self.behind(after, room).await?;
            // What came meanwhile is read next.
            found.retain(|message| number(message).is_some_and(|number| number <= end));
            if found.len() >= limit || after == 0 {
                return Ok(found.split_off(found.len().saturating_sub(limit)));
            }
            step = step.saturating_mul(4);
        }
    }

    /// Deletes one message; whether it was there.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn delete(&self, number: u64) -> Result<bool, BrokerError> {
        match self.stream.delete_message(number).await {
            Ok(done) => Ok(done),
            Err(error) => match error.kind() {
                DeleteMessageErrorKind::JetStream(said)
                    if [ErrorCode::NO_MESSAGE_FOUND, ErrorCode::SEQUENCE_NOT_FOUND]
                        .contains(&said.error_code()) =>
                {
                    Ok(false)
                }
                _ => Err(unavailable(&self.name, &error)),
            },
        }
    }

    /// Whether a message of that number is there.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn has(&self, number: u64) -> Result<bool, BrokerError> {
        match self.stream.get_raw_message(number).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(unavailable(&self.name, &error)),
        }
    }

    /// Makes the stream in which messages of this one come back, as safe as this one is.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub async fn make_retry(&self, retry: &str) -> Result<(), BrokerError> {
        let there = declare::find(&self.context, &self.name).await;
        let there = there.map_err(|e| unavailable(&self.name, &e))?;
        let like = there.map(|info| info.config).unwrap_or_default();
        let wanted = declare::coming_back(retry, &like);
        let found = declare::find(&self.context, &wanted.name).await;
        if found.map_err(|e| unavailable(&wanted.name, &e))?.is_none() {
            let made = declare::ensure(&self.context, &wanted).await;
            made.map_err(|e| unavailable(&wanted.name, &e))?;
        }
        Ok(())
    }

    fn read(&self, message: StreamMessage) -> Message {
        let published_ns = message.time.unix_timestamp_nanos();
        let published_ns = i64::try_from(published_ns).unwrap_or(i64::MAX);
        let received = Received {
            subject: message.subject.as_str().to_owned().into(),
            reply: None,
            headers: wire::sorted(&message.headers),
            payload: message.payload,
            place: Some(Place {
                stream: self.name.clone().into(),
                sequence: message.sequence,
                published_ns,
                delivered: 0,
            }),
        };
        let of = Reading {
            broker: "".into(),
            subscription: "".into(),
            source: self.name.as_str().into(),
            group: "".into(),
            own: false,
        };
        let beside = Beside {
            now_ms: 0,
            deliveries: 0,
        };
        wire::read(&received, &of, beside, Default::default)
    }
}

/// Its number in its stream.
fn number(message: &Message) -> Option<u64> {
    message.origin.position.parse().ok()
}

fn is_missing(error: &jetstream::stream::RawMessageError) -> bool {
    use jetstream::stream::RawMessageErrorKind as Kind;
    match error.kind() {
        Kind::NoMessageFound => true,
        Kind::JetStream(said) => said.error_code() == ErrorCode::NO_MESSAGE_FOUND,
        _ => false,
    }
}
