//! Looking into streams and moving what is there, for commands: `tail`, `dlq list | show | redrive | purge`.
//!
//! Reads no group and settles nothing. One call is one step at the server; following is asking again.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::RedisBroker;
use super::entry;
use super::output::Output;
use super::wire::{self, Kept, Reading};
use crate::commit::Publication;
use crate::message::Message;
use crate::ports::{Broker as _, BrokerError, PayloadFrom};

impl RedisBroker {
    /// Up to `limit` messages of a stream, oldest first, after the entry `after` (`None`: from the start). A message's
    /// `origin.position` is its entry id.
    pub async fn browse(
        &self,
        stream: &str,
        payload: &PayloadFrom,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Message>, BrokerError> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(stream).arg(from).arg("+").arg("COUNT").arg(limit);
        let answer = self.ask(&cmd).await?;
        Ok(self.messages(stream, payload, answer))
    }

    /// The newest `limit` messages of a stream, the oldest of them first.
    pub async fn newest(
        &self,
        stream: &str,
        payload: &PayloadFrom,
        limit: usize,
    ) -> Result<Vec<Message>, BrokerError> {
        let mut cmd = redis::cmd("XREVRANGE");
        cmd.arg(stream).arg("+").arg("-").arg("COUNT").arg(limit);
        let answer = self.ask(&cmd).await?;
        let mut messages = self.messages(stream, payload, answer);
        messages.reverse();
        Ok(messages)
    }

    /// The message of that entry id, if it is there.
    pub async fn peek(
        &self,
        stream: &str,
        payload: &PayloadFrom,
        id: &str,
    ) -> Result<Option<Message>, BrokerError> {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(stream).arg(id).arg(id);
        let answer = self.ask(&cmd).await?;
        Ok(self.messages(stream, payload, answer).pop())
    }

    /// The entry id after which only what is published from now on is found.
    pub async fn end(&self, stream: &str) -> Result<String, BrokerError> {
        let mut cmd = redis::cmd("XREVRANGE");
        cmd.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let answer = self.ask(&cmd).await?;
        Ok(entry::entries(answer)
            .first()
            .map_or_else(|| "0-0".to_owned(), |raw| raw.id.to_string()))
    }

    /// Waits up to `wait` (at most a second counts) for messages after the entry `after`; may return none. On a
    /// connection of its own: one per call to [`RedisBroker::tail`].
    pub async fn follow(
        &self,
        tail: &mut Tail,
        wait: Duration,
        limit: usize,
    ) -> Result<Vec<Message>, BrokerError> {
        let wait = wait
            .min(Duration::from_secs(1))
            .max(Duration::from_millis(1));
        let connection = match &mut tail.connection {
            Some(connection) => connection,
            None => tail.connection.insert(
                self.endpoint
                    .of_key(&tail.stream)
                    .connect(Duration::from_secs(1))
                    .await
                    .map_err(|e| self.data.error(&e))?,
            ),
        };
        let mut cmd = redis::cmd("XREAD");
        cmd.arg("COUNT")
            .arg(limit)
            .arg("BLOCK")
            .arg(u64::try_from(wait.as_millis()).unwrap_or(1000))
            .arg("STREAMS")
            .arg(&*tail.stream)
            .arg(&tail.after);
        let answer: Value = match cmd.query_async(connection).await {
            Ok(answer) => answer,
            Err(e) => {
                tail.connection = None;
                self.endpoint.leaves(&e);
                return Err(self.data.error(&e));
            }
        };
        let reading = self.reading(&tail.stream, &tail.payload);
        let raws = entry::group_read(answer)
            .into_iter()
            .flat_map(|(_, raws)| raws);
        let messages: Vec<Message> = raws
            .map(|raw| wire::read(raw, &reading, Kept::default()))
            .collect();
        if let Some(last) = messages.last() {
            tail.after = last.origin.position.to_string();
        }
        Ok(messages)
    }

    /// A place in a stream to [`follow`](Self::follow) from.
    pub fn tail(&self, stream: &str, payload: PayloadFrom, after: impl Into<String>) -> Tail {
        Tail {
            stream: stream.into(),
            payload,
            after: after.into(),
            connection: None,
        }
    }

    /// How many entries a stream has; 0 where there is none.
    pub async fn len(&self, stream: &str) -> Result<u64, BrokerError> {
        let mut cmd = redis::cmd("XLEN");
        cmd.arg(stream);
        Ok(count(&self.ask(&cmd).await?))
    }

    /// Deletes entries; returns how many were there.
    pub async fn delete(&self, stream: &str, ids: &[String]) -> Result<u64, BrokerError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut cmd = redis::cmd("XDEL");
        cmd.arg(stream).arg(ids);
        Ok(count(&self.ask(&cmd).await?))
    }

    /// Deletes all entries of a stream and keeps its groups; returns how many there were.
    pub async fn purge(&self, stream: &str) -> Result<u64, BrokerError> {
        let mut cmd = redis::cmd("XTRIM");
        cmd.arg(stream).arg("MAXLEN").arg("=").arg(0);
        Ok(count(&self.ask(&cmd).await?))
    }

    /// Publishes `publication` and deletes entry `id` of `stream`, in one step: the message is in exactly one of the
    /// two streams at any time. False, and nothing published, where the entry is not there (any more).
    pub async fn redrive(
        &self,
        stream: &str,
        id: &str,
        publication: &Publication,
    ) -> Result<bool, BrokerError> {
        let output = Output::new(publication).map_err(|e| BrokerError::Refused(e.to_string()))?;
        if !self.endpoint.together(stream, output.place()) {
            return self.redrive_apart(stream, id, publication).await;
        }
        let script = &self.scripts.redrive;
        let mut cmd = script.call(&[stream, output.place()]);
        cmd.arg(id).arg(output.verb());
        output.write(&mut cmd);
        let answer = script
            .run(&self.data, &cmd)
            .await
            .map_err(|e| self.data.error(&e))?;
        Ok(answer != Value::Nil)
    }

    /// The same between two slots of a cluster: published first, so that a failure between the two leaves it in both, with
    /// one id.
    async fn redrive_apart(
        &self,
        stream: &str,
        id: &str,
        publication: &Publication,
    ) -> Result<bool, BrokerError> {
        let mut there = redis::cmd("XRANGE");
        there.arg(stream).arg(id).arg(id);
        if entry::entries(self.ask(&there).await?).is_empty() {
            return Ok(false);
        }
        let sent = self.publisher().publish(&[publication]).await;
        for result in sent {
            result.map_err(|e| BrokerError::Unavailable(e.to_string()))?;
        }
        self.delete(stream, &[id.to_owned()]).await?;
        Ok(true)
    }

    /// Names of the streams that match a glob pattern, sorted. Walks the whole key space in steps.
    pub async fn streams(&self, pattern: &str) -> Result<Vec<String>, BrokerError> {
        let mut names = std::collections::BTreeSet::new();
        for place in self.data.places().await.map_err(|e| self.data.error(&e))? {
            let mut cursor = "0".to_owned();
            loop {
                let mut cmd = redis::cmd("SCAN");
                cmd.arg(&cursor)
                    .arg("MATCH")
                    .arg(pattern)
                    .arg("COUNT")
                    .arg(500)
                    .arg("TYPE")
                    .arg("stream");
                let answer = place.query(&cmd).await.map_err(|e| self.data.error(&e))?;
                let mut answer = entry::items(answer).unwrap_or_default().into_iter();
                let next = answer.next().and_then(entry::text);
                let found = answer.next().and_then(entry::items).unwrap_or_default();
                names.extend(found.into_iter().filter_map(entry::text));
                match next {
                    Some(next) if next != "0" => cursor = next,
                    _ => break,
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    pub(super) async fn ask(&self, cmd: &redis::Cmd) -> Result<Value, BrokerError> {
        self.data.query(cmd).await.map_err(|e| self.data.error(&e))
    }

    fn reading(&self, stream: &str, payload: &PayloadFrom) -> Reading {
        Reading {
            broker: Arc::clone(&self.options.name),
            subscription: "".into(),
            stream: stream.into(),
            group: None,
            payload: payload.clone(),
        }
    }

    fn messages(&self, stream: &str, payload: &PayloadFrom, answer: Value) -> Vec<Message> {
        let reading = self.reading(stream, payload);
        entry::entries(answer)
            .into_iter()
            .map(|raw| wire::read(raw, &reading, Kept::default()))
            .collect()
    }
}

/// A place in a stream, moved on by [`RedisBroker::follow`].
pub struct Tail {
    stream: Arc<str>,
    payload: PayloadFrom,
    after: String,
    connection: Option<redis::aio::MultiplexedConnection>,
}

fn count(answer: &Value) -> u64 {
    entry::int(answer)
        .and_then(|n| n.try_into().ok())
        .unwrap_or(0)
}
