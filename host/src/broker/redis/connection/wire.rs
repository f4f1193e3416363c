//! One connection, shared by many callers.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, Value};

use super::endpoint::Endpoint;
use super::health::Part;
use super::words::{breaks, broker_error};

#[derive(Default)]
struct Slot {
    connection: Option<MultiplexedConnection>,
    /// Which connection this is, so that a late failure does not throw away its successor.
    generation: u64,
}

/// A connection shared by many callers, made when first needed and again after it broke.
///
/// The lock is held while connecting, so that many callers make one connection; `connect` bounds it. Otherwise it is
/// held to clone a handle, once per batch.
pub(in crate::broker::redis) struct Wire {
    endpoint: Endpoint,
    slot: tokio::sync::Mutex<Slot>,
    part: Part,
}

impl Wire {
    pub(super) fn new(endpoint: Endpoint, part: Part) -> Self {
        Self {
            endpoint,
            slot: tokio::sync::Mutex::default(),
            part,
        }
    }

    async fn get(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((connection.clone(), slot.generation));
        }
        match self.endpoint.connect(Duration::ZERO).await {
            Ok(connection) => {
                slot.generation += 1;
                slot.connection = Some(connection.clone());
                self.part.well();
                Ok((connection, slot.generation))
            }
            Err(e) => {
                self.trouble(&e);
                Err(e)
            }
        }
    }

    fn trouble(&self, error: &RedisError) {
        let told = broker_error(&self.endpoint.at, error);
        self.part.trouble(&told.to_string());
    }

    async fn failed(&self, generation: u64, error: &RedisError) {
        if !breaks(error) {
            return;
        }
        let mut slot = self.slot.lock().await;
        if slot.generation == generation && slot.connection.take().is_some() {
            self.trouble(error);
        }
    }

    /// Carries out one command.
    pub(in crate::broker::redis) async fn query(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        let (mut connection, generation) = self.get().await?;
        let answer = cmd.query_async::<Value>(&mut connection).await;
        if let Err(e) = &answer {
            self.failed(generation, e).await;
        }
        answer
    }

    /// Carries out a pipeline; errors of single commands are among the answers.
    pub(super) async fn pipeline(&self, pipe: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let (mut connection, generation) = self.get().await?;
        let answer = pipe.query_async::<Vec<Value>>(&mut connection).await;
        if let Err(e) = &answer {
            self.failed(generation, e).await;
        }
        answer
    }

    /// As [`pipeline`](Self::pipeline), and waits until as many replicas have it as the configuration wants. Where they
    /// do not, it is carried out all the same, and the answer is an error.
    pub(super) async fn confirmed(&self, pipe: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let Some(replicas) = self.endpoint.replicas else {
            return self.pipeline(pipe).await;
        };
        let most = self.endpoint.dial.replicas().as_millis();
        let mut waiting = pipe.clone();
        waiting
            .cmd("WAIT")
            .arg(replicas)
            .arg(u64::try_from(most).unwrap_or(1000));
        let mut answers = self.pipeline(&waiting).await?;
        let other = |text: String| Err(RedisError::from(std::io::Error::other(text)));
        match answers.pop() {
            Some(Value::Int(have)) if have >= i64::from(replicas) => Ok(answers),
            Some(Value::Int(have)) => other(format!(
                "written, and {have} of {replicas} replicas have it (`wait_replicas`)"
            )),
            Some(Value::ServerError(e)) => Err(e.into()),
            _ => other("no answer to WAIT".to_owned()),
        }
    }
}
