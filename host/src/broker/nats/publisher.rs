//! Publishing: to streams, each message confirmed by the stream that took it; and past them, to whoever listens.
//!
//! What surprises:
//! - A subject that no stream holds is no error for NATS: nobody answers, and the message is gone. Here that is the
//!   destination's fault.
//! - A stream drops a message whose id it knows, whatever the subject, and confirms it as a duplicate. A handler may give two
//!   outputs one id; so a duplicate is looked at, and what lies there under another subject is no repeat.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Request;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::Config as StreamConfig;
use async_nats::jetstream::{self, ErrorCode};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Mutex;

use super::declare;
use super::link::{ANSWER, Link, Unanswered, advised};
use super::wire::{self, MESSAGE_ID, Way, Written};
use crate::commit::Publication;
use crate::ports::{Clock, PublishError, Publisher};

/// Publications under way at once.
const AT_ONCE: usize = 512;

/// See the module.
pub(super) struct NatsPublisher {
    link: Arc<Link>,
    declared: Arc<Vec<StreamConfig>>,
    /// On which connection the declared streams were seen to.
    seen: Mutex<()>,
    clock: Clock,
    /// How long a connection is waited for. The host waits by itself.
    patience: Option<Duration>,
}

impl NatsPublisher {
    pub(super) fn new(link: Arc<Link>, declared: Arc<Vec<StreamConfig>>, clock: Clock) -> Self {
        Self {
            link,
            declared,
            seen: Mutex::default(),
            clock,
            patience: None,
        }
    }

    /// One that waits so long for a connection.
    pub(super) fn waiting(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    async fn send(&self, batch: &[&Publication]) -> Vec<Result<(), PublishError>> {
        if let Some(patience) = self.patience {
            // Without one, each says so.
            drop(tokio::time::timeout(patience, self.link.connected()).await);
        }
        let now_ms = self.clock.now_ms();
        let sent: Vec<_> = batch.iter().map(|p| self.one(p, now_ms)).collect();
        // In the order of the batch. Without its budget, which tokio would have some of them wait for, each is on its way
        // when it is looked at first.
        let sent = stream::iter(sent).buffered(AT_ONCE).collect();
        let mut results: Vec<_> = tokio::task::unconstrained(sent).await;
        let past_streams = |p: &&Publication| way(p) == Way::Core;
        if batch.iter().any(past_streams)
            && let Err(error) = self.flush().await
        {
            for (result, publication) in results.iter_mut().zip(batch) {
                if result.is_ok() && past_streams(publication) {
                    *result = Err(error.clone());
                }
            }
        }
        results
    }

    async fn one(&self, publication: &Publication, now_ms: u64) -> Result<(), PublishError> {
        let way = way(publication);
        let written = wire::write(&publication.message, publication.address(), way, now_ms)?;
        match way {
            Way::Core => self.say(written).await,
            Way::Stream => self.store(written).await,
        }
    }

    /// To whoever listens.
    async fn say(&self, written: Written) -> Result<(), PublishError> {
        let subject = written.subject.clone();
        let Some(client) = self.link.client() else {
            return Err(PublishError::Destination(self.link.why_not()));
        };
        let headers = wire::map(written.headers);
        let sent = match written.reply {
            Some(reply) => {
                let (to, payload) = (written.subject, written.payload);
                client
                    .publish_with_reply_and_headers(to, reply, headers, payload)
                    .await
            }
            None => {
                let (to, payload) = (written.subject, written.payload);
                client.publish_with_headers(to, headers, payload).await
            }
        };
        sent.map_err(|error| {
            use async_nats::client::PublishErrorKind as Kind;
            let said = format!("nats: {subject}: {}", advised(error.to_string()));
            match error.kind() {
                Kind::MaxPayloadExceeded | Kind::InvalidSubject => PublishError::Message(said),
                Kind::Send => PublishError::Destination(said),
            }
        })
    }

    async fn flush(&self) -> Result<(), PublishError> {
        let lost = || PublishError::Destination(self.link.why_not());
        let client = self.link.client().ok_or_else(lost)?;
        let flushed = tokio::time::timeout(ANSWER, client.flush()).await;
        flushed.map_err(|_| lost())?.map_err(|_| lost())
    }

    /// To the stream that holds the subject.
    async fn store(&self, written: Written) -> Result<(), PublishError> {
        let mut answer = self.stored(&written).await;
        if answer == Err(Refusal::NoStream) && !self.declared.is_empty() && self.declare().await {
            answer = self.stored(&written).await;
        }
        let subject = &written.subject;
        let stored = answer.map_err(|refusal| refusal.of(subject))?;
        if stored.duplicate && !self.repeated(&stored, subject).await? {
            let mut other = written.clone();
            for (name, value) in &mut other.headers {
                if name == MESSAGE_ID {
                    value.push('@');
                    value.push_str(subject);
                }
            }
            let again = self.stored(&other).await;
            again.map_err(|refusal| refusal.of(subject))?;
        }
        Ok(())
    }

    async fn stored(&self, written: &Written) -> Result<PublishAck, Refusal> {
        let headers = wire::map(written.headers.clone());
        let request = || {
            Request::new()
                .headers(headers.clone())
                .payload(written.payload.clone())
        };
        let answer = self.link.request(&written.subject, ANSWER, request).await;
        let answer = answer.map_err(|unanswered| match unanswered {
            Unanswered::Nobody => Refusal::NoStream,
            Unanswered::TooLarge(said) => Refusal::Message(said),
            Unanswered::Unavailable(said) => Refusal::Destination(said),
        })?;
        match serde_json::from_slice::<Response<PublishAck>>(&answer.payload) {
            Ok(Response::Ok(stored)) => Ok(stored),
            Ok(Response::Err { error }) => {
                let said = advised(error.to_string());
                let code = error.error_code();
                Err(if code == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM {
                    Refusal::Message(said)
                } else {
                    Refusal::Destination(said)
                })
            }
            Err(_) => Err(Refusal::Destination(
                "somebody answers there who is no stream".to_owned(),
            )),
        }
    }

    /// Makes the declared streams that are missing; whether they are there now.
    async fn declare(&self) -> bool {
        let Some(client) = self.link.client() else {
            return false;
        };
        let _one_at_a_time = self.seen.lock().await;
        let context = jetstream::new(client);
        for wanted in &*self.declared {
            let ensured = self.link.unless_lost(declare::ensure(&context, wanted));
            if let Err(reason) = ensured.await.unwrap_or_else(|| Err(self.link.why_not())) {
                tracing::warn!(reason, "nats: a declared stream");
                return false;
            }
        }
        true
    }

    /// Whether what the stream has under this id lies on the same subject.
    async fn repeated(&self, stored: &PublishAck, subject: &str) -> Result<bool, PublishError> {
        let away = |why: String| PublishError::Destination(format!("nats: {subject}: {why}"));
        let ask = format!("$JS.API.STREAM.MSG.GET.{}", stored.stream);
        let which = serde_json::json!({"seq": stored.sequence}).to_string();
        // Not the client's own function: it does not ask again where the connection is lost.
        let request = || Request::new().payload(which.clone().into());
        let answer = self.link.request(&ask, ANSWER, request).await;
        let answer = answer.map_err(|unanswered| match unanswered {
            Unanswered::Nobody => away("JetStream does not answer".to_owned()),
            Unanswered::TooLarge(why) | Unanswered::Unavailable(why) => away(why),
        })?;
        match serde_json::from_slice::<Response<There>>(&answer.payload) {
            Ok(Response::Ok(there)) => Ok(there.message.subject == subject),
            // It was handled and is gone.
            Ok(Response::Err { error }) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                Ok(true)
            }
            Ok(Response::Err { error }) => Err(away(error.to_string())),
            Err(error) => Err(away(error.to_string())),
        }
    }
}

/// A message of a stream, as far as it is looked at.
#[derive(serde::Deserialize)]
struct There {
    message: Stored,
}

#[derive(serde::Deserialize)]
struct Stored {
    subject: String,
}

/// Why a stream did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    NoStream,
    Message(String),
    Destination(String),
}

impl Refusal {
    fn of(self, subject: &str) -> PublishError {
        match self {
            Self::NoStream => PublishError::Destination(format!(
                "nats: no stream holds the subject {subject}: make one that does, name one under `declare`, or, for whoever listens now, say `core: true`"
            )),
            Self::Message(said) => PublishError::Message(format!("nats: {subject}: {said}")),
            Self::Destination(said) => {
                PublishError::Destination(format!("nats: {subject}: {said}"))
            }
        }
    }
}

/// How it is published. Whoever waits for a reply listens now. Nothing else goes past the streams unasked.
fn way(publication: &Publication) -> Way {
    let destination = &publication.destination;
    if destination.core || &*destination.name == "reply" {
        Way::Core
    } else {
        Way::Stream
    }
}

impl Publisher for NatsPublisher {
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(self.send(batch))
    }
}
