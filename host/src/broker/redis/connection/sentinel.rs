//! A server that sentinels watch: they say where it is just now.
//!
//! They are asked anew for every connection, all at once, and the first that knows is believed: after a fail-over most
//! know at once, and one that is behind names a server that is gone, or one that says itself that it is a replica now.
//! Both are waited out like any server that is not there.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, RedisError, Value};

use super::endpoint::{Dial, moved};
use crate::broker::redis::entry;

/// What is asked of the sentinels, and how the server they name is greeted.
pub(super) struct Watched {
    sentinels: Vec<ConnectionInfo>,
    name: String,
    /// User, database and certificates of the server; its address is not used.
    server: ConnectionInfo,
    dial: Dial,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentinels: Vec<_> = self
            .sentinels
            .iter()
            .map(|s| s.addr().to_string())
            .collect();
        write!(f, "`{}` by sentinels {}", self.name, sentinels.join(", "))
    }
}

impl Watched {
    pub(super) fn new(
        sentinels: Vec<ConnectionInfo>,
        name: String,
        server: ConnectionInfo,
        dial: Dial,
    ) -> Self {
        Self {
            sentinels,
            name,
            server,
            dial,
        }
    }

    /// A connection to the server that is the master just now.
    pub(super) async fn connect(
        &self,
        extra: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = self.master().await?;
        let at = info.addr().to_string();
        let mut connection = self
            .dial
            .connect(&info, extra)
            .await
            .map_err(|e| there(&at, e))?;
        // One that was replaced may not know it yet; one that knows says so. Who may not ask is not kept out for it.
        let role = redis::cmd("ROLE")
            .query_async::<Value>(&mut connection)
            .await;
        match role.ok().and_then(entry::items).and_then(first) {
            Some(role) if role != "master" => Err(other(format!(
                "{at}: the sentinels name it, and it is a {role} (yet)"
            ))),
            _ => Ok(connection),
        }
    }

    /// The server that the sentinels name.
    pub(super) async fn master(&self) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = self.ask().await?;
        Ok(moved(&self.server, host, port))
    }

    /// Where the master is.
    async fn ask(&self) -> Result<(String, u16), RedisError> {
        let mut asked: FuturesUnordered<_> =
            self.sentinels.iter().map(|one| self.ask_one(one)).collect();
        let mut failed = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(found) => return Ok(found),
                Err(e) => failed = Some(e),
            }
        }
        Err(failed.unwrap_or_else(|| other("no sentinel is configured".to_owned())))
    }

    async fn ask_one(&self, sentinel: &ConnectionInfo) -> Result<(String, u16), RedisError> {
        let at = format!("sentinel {}", sentinel.addr());
        let told = |e| there(&at, e);
        let mut connection = self
            .dial
            .connect(sentinel, Duration::ZERO)
            .await
            .map_err(told)?;
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let answer: Value = cmd.query_async(&mut connection).await.map_err(told)?;
        address(answer).ok_or_else(|| other(format!("{at}: No such master with that name")))
    }
}

/// `[host, port]`; anything else is no address.
fn address(answer: Value) -> Option<(String, u16)> {
    let mut answer = entry::items(answer)?.into_iter();
    let host = entry::text(answer.next()?)?;
    let port = entry::text(answer.next()?)?.parse().ok()?;
    Some((host, port))
}

fn first(items: Vec<Value>) -> Option<String> {
    items.into_iter().next().and_then(entry::text)
}

fn other(text: String) -> RedisError {
    RedisError::from(std::io::Error::other(text))
}

/// The same error, saying who said it.
fn there(at: &str, error: RedisError) -> RedisError {
    // A kind that tells what to change is kept.
    match error.is_io_error() {
        true => other(format!("{at}: {error}")),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_two_texts() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let answer = Value::Array(vec![bulk("10.0.0.1"), bulk("6379")]);
        assert_eq!(address(answer), Some(("10.0.0.1".to_owned(), 6379)));
        assert_eq!(address(Value::Nil), None);
        assert_eq!(address(Value::Array(vec![bulk("10.0.0.1")])), None);
    }
}
