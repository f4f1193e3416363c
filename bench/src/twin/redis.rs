//! The twin on Redis streams: group read, pipelined confirmed XADDs, one XACK for all of a batch.

use std::time::Duration;

use anyhow::{Context, bail};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use tokio::task::JoinHandle;

use super::{BATCH, Work};

/// One entry: its id, and names and values in turn.
struct Entry {
    id: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

pub(super) async fn run(url: &str, group: &str, work: Work) -> anyhow::Result<()> {
    let (reading, mut writing) = connections(url).await?;
    create_group(&mut writing, group).await?;

    let mut next = tokio::spawn(read(reading.clone(), group.to_owned()));
    let mut acknowledged: Option<JoinHandle<anyhow::Result<()>>> = None;
    loop {
        let batch = next.await??;
        next = tokio::spawn(read(reading.clone(), group.to_owned()));
        if batch.is_empty() {
            continue;
        }
        publish(&mut writing, &batch, work).await?;
        if let Some(before) = acknowledged.take() {
            before.await??;
        }
        let ids = batch.into_iter().map(|entry| entry.id).collect();
        acknowledged = Some(tokio::spawn(acknowledge(
            writing.clone(),
            group.to_owned(),
            ids,
        )));
    }
}

/// One to read and one to write: a blocked read blocks all behind it.
pub(super) async fn connections(
    url: &str,
) -> anyhow::Result<(MultiplexedConnection, MultiplexedConnection)> {
    let client = redis::Client::open(url)?;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let connect = || client.get_multiplexed_async_connection_with_config(&config);
    Ok((connect().await?, connect().await?))
}

async fn create_group(connection: &mut MultiplexedConnection, group: &str) -> anyhow::Result<()> {
    let mut create = redis::cmd("XGROUP");
    create
        .arg("CREATE")
        .arg("in")
        .arg(group)
        .arg("0")
        .arg("MKSTREAM");
    match create.query_async::<Value>(connection).await {
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

async fn read(mut connection: MultiplexedConnection, group: String) -> anyhow::Result<Vec<Entry>> {
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP")
        .arg(&group)
        .arg("twin")
        .arg("COUNT")
        .arg(BATCH);
    read.arg("BLOCK")
        .arg(1000)
        .arg("STREAMS")
        .arg("in")
        .arg(">");
    match read.query_async(&mut connection).await? {
        Value::Nil => Ok(Vec::new()),
        Value::Array(streams) => {
            let Some(Value::Array(mut stream)) = streams.into_iter().next() else {
                bail!("not a stream");
            };
            let Some(Value::Array(entries)) = stream.pop() else {
                bail!("a stream without entries");
            };
            entries.into_iter().map(entry).collect()
        }
        other => bail!("not an answer to XREADGROUP: {other:?}"),
    }
}

fn entry(value: Value) -> anyhow::Result<Entry> {
    let Value::Array(pair) = value else {
        bail!("not an entry")
    };
    let mut pair = pair.into_iter();
    let (Some(id), Some(Value::Array(fields))) = (pair.next(), pair.next()) else {
        bail!("not an entry");
    };
    Ok(Entry {
        id: bytes(id)?,
        fields: fields
            .into_iter()
            .map(bytes)
            .collect::<anyhow::Result<_>>()?,
    })
}

pub(super) fn bytes(value: Value) -> anyhow::Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        other => bail!("not a string: {other:?}"),
    }
}

/// Answers when each is confirmed.
async fn publish(
    connection: &mut MultiplexedConnection,
    batch: &[Entry],
    work: Work,
) -> anyhow::Result<()> {
    let mut pipe = redis::pipe();
    for entry in batch {
        let mut fields = entry.fields.chunks_exact(2);
        let payload = fields
            .find(|field| field[0] == b"payload")
            .context("no payload")?;
        let output = work.payload(&payload[1])?;
        let id = [&entry.id[..], b"/bench/0"].concat();
        let add = pipe.cmd("XADD").arg("out").arg("*").arg("wharf-id").arg(id);
        match &output {
            Some(payload) => {
                add.arg("content-type")
                    .arg("application/json")
                    .arg("payload")
                    .arg(payload);
            }
            None => {
                add.arg(&entry.fields);
            }
        }
    }
    let confirmed: Vec<Value> = pipe.query_async(connection).await?;
    match confirmed.len() == batch.len() {
        true => Ok(()),
        false => bail!("{} of {} outputs confirmed", confirmed.len(), batch.len()),
    }
}

async fn acknowledge(
    mut connection: MultiplexedConnection,
    group: String,
    ids: Vec<Vec<u8>>,
) -> anyhow::Result<()> {
    let acknowledged: usize = redis::cmd("XACK")
        .arg("in")
        .arg(group)
        .arg(&ids)
        .query_async(&mut connection)
        .await?;
    match acknowledged == ids.len() {
        true => Ok(()),
        false => bail!("{acknowledged} of {} entries acknowledged", ids.len()),
    }
}
