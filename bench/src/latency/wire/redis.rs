//! Streams and lists of Redis.

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::{CHUNK, Observer, Publish, Wired};
use crate::envelope::Envelope;
use crate::stage::{RedisListsStage, RedisStage, lpush, xadd};

/// Ids, and names with values.
type Entries = Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>;

/// Blocking reads of the stream, without a group.
pub(in crate::latency) struct StreamOut {
    connection: MultiplexedConnection,
    last: String,
}

/// Takes one output after the other from the list.
pub(in crate::latency) struct ListOut(MultiplexedConnection);

fn to(connection: MultiplexedConnection, command: fn(u64, Vec<u8>) -> redis::Cmd) -> Publish {
    Box::new(move |seq, payload| {
        let mut connection = connection.clone();
        Box::pin(async move {
            let command = command(seq, payload);
            let _there: Value = command.query_async(&mut connection).await?;
            Ok(())
        })
    })
}

async fn delete_in(mut connection: MultiplexedConnection) -> anyhow::Result<()> {
    let mut delete = redis::cmd("DEL");
    let _there: Value = delete.arg("in").query_async(&mut connection).await?;
    Ok(())
}

impl Wired for RedisStage {
    type Out = StreamOut;

    async fn empty(&mut self) -> anyhow::Result<()> {
        delete_in(self.client()).await
    }

    fn publish(&self) -> anyhow::Result<Publish> {
        Ok(to(self.client(), |_, payload| xadd("in", payload)))
    }

    async fn observe(&self) -> anyhow::Result<StreamOut> {
        Ok(StreamOut {
            connection: self.another_client().await,
            last: "0".into(),
        })
    }
}

impl Wired for RedisListsStage {
    type Out = ListOut;

    fn publish(&self) -> anyhow::Result<Publish> {
        Ok(to(self.client(), |seq, payload| lpush("in", seq, &payload)))
    }

    async fn observe(&self) -> anyhow::Result<ListOut> {
        Ok(ListOut(self.another_client().await))
    }
}

impl Observer for StreamOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT")
            .arg(CHUNK)
            .arg("BLOCK")
            .arg(1000)
            .arg("STREAMS")
            .arg("out")
            .arg(&self.last);
        let answer: Option<Vec<(String, Entries)>> = read.query_async(&mut self.connection).await?;
        let mut payloads = Vec::new();
        for (id, fields) in answer
            .into_iter()
            .flatten()
            .flat_map(|(_, entries)| entries)
        {
            self.last = id;
            payloads.extend(
                fields
                    .into_iter()
                    .filter(|(name, _)| name == b"payload")
                    .map(|(_, value)| value),
            );
        }
        Ok(payloads)
    }
}

impl Observer for ListOut {
    async fn next(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut pop = redis::cmd("BRPOP");
        let popped: Option<(Vec<u8>, Vec<u8>)> =
            pop.arg("out").arg(1).query_async(&mut self.0).await?;
        let values = popped.into_iter().map(|(_, value)| value);
        values
            .map(|value| Ok(Envelope::open(&value)?.payload.to_vec()))
            .collect()
    }
}
