//! How much a group still has before it.

use redis::Value;

use super::connection::Link;
use super::entry;
use super::script::Scripts;
use crate::ports::{BrokerError, Lag};

/// Most entries counted one by one, where the server cannot say how many are unread.
const COUNTED: usize = 10_000;

/// The lag of one stream; nothing where stream or group do not exist.
pub(super) async fn of(
    link: &Link,
    scripts: &Scripts,
    stream: &str,
    group: &str,
) -> Result<Lag, BrokerError> {
    let mut cmd = redis::cmd("XINFO");
    cmd.arg("GROUPS").arg(stream);
    let rows = match link.query(&cmd).await {
        Ok(value) => entry::items(value).unwrap_or_default(),
        Err(e) if e.detail() == Some("no such key") => return Ok(Lag::default()),
        Err(e) => return Err(link.error(&e)),
    };
    let Some(row) = rows.into_iter().filter_map(entry::items).find(|row| {
        entry::lookup(row, "name").and_then(entry::bytes).as_deref() == Some(group.as_bytes())
    }) else {
        return Ok(Lag::default());
    };
    let number = |name| {
        entry::lookup(&row, name)
            .as_ref()
            .and_then(entry::int)
            .and_then(|n| u64::try_from(n).ok())
    };
    let waiting = match number("lag") {
        Some(lag) => lag,
        None => {
            let last = entry::lookup(&row, "last-delivered-id")
                .and_then(entry::text)
                .unwrap_or_else(|| "0-0".into());
            let mut cmd = scripts.unread.call(&[stream]);
            cmd.arg(last).arg(COUNTED);
            let count: Value = scripts
                .unread
                .run(link, &cmd)
                .await
                .map_err(|e| link.error(&e))?;
            entry::int(&count)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(0)
        }
    };
    Ok(Lag {
        waiting,
        pending: number("pending").unwrap_or(0),
    })
}
