//! Publishing: pipelined commands on the shared connection, one answer each.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use redis::{Cmd, Value};

use super::connection::{Link, advised, breaks, said};
use super::output::Output;
use super::wire;
use crate::commit::{Destination, Publication};
use crate::message::flat::Pair;
use crate::ports::{PublishError, Publisher};

/// Commands per pipeline.
const BATCH: usize = 256;
/// Bytes per pipeline; one message may exceed it.
const BYTES: usize = 4 << 20;
/// What a server takes as one value unless told otherwise (`proto-max-bulk-len`).
const VALUE: usize = 512 << 20;

/// How a stream is kept short, roughly: the server drops whole nodes of it.
enum Trim {
    /// To so many entries.
    Entries(u64),
    /// To those written at this time or later, milliseconds since 1970. Entry ids begin with the server's time.
    Since(u64),
}

impl Trim {
    /// As the destination says; by the configuration, one of the two at most.
    fn of(destination: &Destination, now_ms: u64) -> Option<Self> {
        let age = destination.max_age;
        let since =
            |age: Duration| now_ms.saturating_sub(age.as_millis().try_into().unwrap_or(u64::MAX));
        age.map(|age| Self::Since(since(age)))
            .or(destination.max_len.map(Self::Entries))
    }
}

/// One entry of a stream, ready to be written.
pub(super) struct Xadd<'a> {
    pub(super) stream: &'a str,
    trim: Option<Trim>,
    fields: Vec<Pair<'a>>,
    /// Of names and values.
    pub(super) bytes: usize,
}

impl<'a> Xadd<'a> {
    pub(super) fn new(publication: &'a Publication) -> Result<Self, PublishError> {
        let out = &publication.message;
        if out.delay_ms.is_some_and(|d| d > 0) {
            return Err(PublishError::Message(
                "a Redis stream cannot hold a message back: publish it without a delay, \
                 or to a broker that can"
                    .into(),
            ));
        }
        let field = publication
            .destination
            .payload_field
            .as_deref()
            .unwrap_or(wire::PAYLOAD);
        let now_ms = now_ms();
        let mut fields = wire::write(out, field, now_ms);
        if fields.is_empty() {
            // A stream entry has at least one field.
            fields.push((Cow::Borrowed(field.as_bytes()), Cow::Borrowed(b"")));
        }
        if let Some(size) = fields.iter().map(|(n, v)| n.len().max(v.len())).max()
            && size > VALUE
        {
            return Err(PublishError::Message(format!(
                "a value of {size} bytes is more than Redis takes ({VALUE})"
            )));
        }
        Ok(Self {
            stream: publication.address(),
            trim: Trim::of(&publication.destination, now_ms),
            bytes: fields.iter().map(|(n, v)| n.len() + v.len()).sum(),
            fields,
        })
    }

    /// How many arguments [`write`](Self::write) adds.
    pub(super) fn args(&self) -> usize {
        1 + 2 * self.fields.len() + if self.trim.is_some() { 3 } else { 0 }
    }

    /// What follows the key in an XADD.
    pub(super) fn write(&self, cmd: &mut Cmd) {
        match self.trim {
            Some(Trim::Entries(most)) => cmd.arg("MAXLEN").arg("~").arg(most),
            Some(Trim::Since(oldest)) => cmd.arg("MINID").arg("~").arg(oldest),
            None => cmd,
        };
        cmd.arg("*");
        for (name, value) in &self.fields {
            cmd.arg(&name[..]).arg(&value[..]);
        }
    }
}

pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Publishes in order.
pub(super) async fn send(link: &Link, outputs: &[Output<'_>]) -> Vec<Result<(), PublishError>> {
    let mut results = Vec::with_capacity(outputs.len());
    while results.len() < outputs.len() {
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        let mut bytes = 0;
        for output in &outputs[results.len()..] {
            if pipe.len() == BATCH || (bytes > 0 && bytes + output.bytes() > BYTES) {
                break;
            }
            bytes += output.bytes();
            pipe.add_command(output.command());
        }
        let count = pipe.len();
        match link.confirmed(&pipe).await {
            Ok(answers) => results.extend(answers.into_iter().map(one)),
            Err(e) => {
                let text = link.error(&e).to_string();
                // Whether the server has them is unknown: they keep their ids and are sent again.
                results.extend((0..count).map(|_| Err(PublishError::Destination(text.clone()))));
                if breaks(&e) {
                    let rest = outputs.len() - results.len();
                    results.extend((0..rest).map(|_| Err(PublishError::Destination(text.clone()))));
                }
            }
        }
    }
    results
}

fn one(answer: Value) -> Result<(), PublishError> {
    match answer {
        Value::ServerError(e) => Err(PublishError::Destination(format!(
            "redis: {}",
            advised(said(&e.into()))
        ))),
        _ => Ok(()),
    }
}

pub(super) struct RedisPublisher {
    pub(super) link: Arc<Link>,
}

impl Publisher for RedisPublisher {
    fn publish<'a>(
        &'a self,
        batch: &'a [&'a Publication],
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            let mut results: Vec<Result<(), PublishError>> = Vec::with_capacity(batch.len());
            let mut outputs = Vec::with_capacity(batch.len());
            for publication in batch {
                match Output::new(publication) {
                    Ok(output) => {
                        outputs.push((results.len(), output));
                        results.push(Ok(()));
                    }
                    Err(e) => results.push(Err(e)),
                }
            }
            let (places, outputs): (Vec<_>, Vec<_>) = outputs.into_iter().unzip();
            for (place, sent) in places.into_iter().zip(send(&self.link, &outputs).await) {
                results[place] = sent;
            }
            results
        })
    }
}
