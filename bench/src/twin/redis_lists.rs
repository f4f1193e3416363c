//! The twin on Redis lists: a batch is moved to a list of the twin's own before it is handled, so that a crash loses
//! nothing; one transaction puts all outputs and takes the batch from there. The next batch is taken meanwhile.
//!
//! Both is done by as few commands as there can be: items are moved by a script of three lines, since `LMOVE` moves one;
//! and since they lie in the order in which they were taken, and nobody else reads that list, one `LTRIM` settles a batch
//! where `LREM` would settle one item. There are no leases: what a twin leaves behind waits for its next life.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use redis::aio::MultiplexedConnection;
use redis::{Script, Value};
use tokio::task::JoinHandle;

use super::redis::{bytes, connections};
use super::{BATCH, Work};
use crate::envelope::{self, Envelope};

/// Where the twin keeps what it has in hand; the oldest is at the right end.
pub(crate) const PROCESSING: &str = "in:twin";

/// Moves up to a batch.
const TAKE: &str = "
local values = redis.call('RPOP', KEYS[1], ARGV[1])
if values then redis.call('LPUSH', KEYS[2], unpack(values)) end
return values or {}";

const PUBLISHED: &[u8] = b"wharf-published";
const CONTENT_TYPE: (&[u8], &[u8]) = (b"content-type", b"application/json");

pub(super) async fn run(url: &str, work: Work) -> anyhow::Result<()> {
    let (reading, mut writing) = connections(url).await?;
    put_back(&mut writing).await?;
    let mut next = tokio::spawn(take(reading.clone()));
    let mut before: Option<JoinHandle<anyhow::Result<()>>> = None;
    loop {
        let batch = next.await??;
        next = tokio::spawn(take(reading.clone()));
        if batch.is_empty() {
            continue;
        }
        let outputs = handle(&batch, work)?;
        if let Some(before) = before.take() {
            before.await??;
        }
        before = Some(tokio::spawn(commit(writing.clone(), outputs)));
    }
}

/// What an earlier life had in hand is to be read again, the oldest first.
async fn put_back(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    loop {
        let mut back = redis::cmd("LMOVE");
        back.arg(PROCESSING).arg("in").arg("LEFT").arg("RIGHT");
        if back.query_async::<Value>(connection).await? == Value::Nil {
            return Ok(());
        }
    }
}

/// Up to a batch, and where there is nothing, the first that comes within a second.
async fn take(mut connection: MultiplexedConnection) -> anyhow::Result<Vec<Vec<u8>>> {
    let take = Script::new(TAKE);
    let mut taking = take.key("in");
    taking.key(PROCESSING).arg(BATCH);
    let taken: Vec<Value> = taking.invoke_async(&mut connection).await?;
    if !taken.is_empty() {
        return taken.into_iter().map(bytes).collect();
    }
    let mut wait = redis::cmd("BLMOVE");
    wait.arg("in").arg(PROCESSING).arg("RIGHT").arg("LEFT");
    match wait.arg(1).query_async(&mut connection).await? {
        Value::Nil => Ok(Vec::new()),
        first => Ok(vec![bytes(first)?]),
    }
}

fn handle(batch: &[Vec<u8>], work: Work) -> anyhow::Result<Vec<Vec<u8>>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = now.to_string();
    let output = |value: &Vec<u8>| {
        let opened = Envelope::open(value)?;
        let fields = opened.fields()?;
        let named = fields.iter().find(|(name, _)| *name == envelope::ID);
        let id = [named.context("no id")?.1, b"/bench/0"].concat();
        let ours = [(PUBLISHED, now.as_bytes()), (envelope::ID, &id[..])];
        anyhow::Ok(match work.payload(opened.payload)? {
            Some(payload) => envelope::write(ours.into_iter().chain([CONTENT_TYPE]), &payload),
            None => {
                let kept = fields
                    .into_iter()
                    .filter(|(name, _)| *name != envelope::ID && *name != PUBLISHED);
                envelope::write(ours.into_iter().chain(kept), opened.payload)
            }
        })
    };
    batch.iter().map(output).collect()
}

/// All outputs are there and the oldest batch is settled, or neither.
async fn commit(
    mut connection: MultiplexedConnection,
    outputs: Vec<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut pipe = redis::pipe();
    pipe.atomic();
    pipe.cmd("LPUSH").arg("out").arg(&outputs);
    let last = -1 - i64::try_from(outputs.len())?;
    pipe.cmd("LTRIM").arg(PROCESSING).arg(0).arg(last);
    let answers: Vec<Value> = pipe.query_async(&mut connection).await?;
    let [Value::Int(there), Value::Okay] = answers[..] else {
        bail!("not committed: {answers:?}")
    };
    ensure!(
        there >= i64::try_from(outputs.len())?,
        "outputs are missing"
    );
    Ok(())
}
