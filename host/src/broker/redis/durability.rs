//! Whether a server keeps what it is given.

use super::connection::Link;
use super::entry;

/// Without an append-only file a restart of the server empties it, which is said at the start.
pub(super) async fn warn(link: &Link) {
    let mut cmd = redis::cmd("CONFIG");
    cmd.arg("GET").arg("appendonly");
    let Ok(answer) = link.query(&cmd).await else {
        return; // not allowed to ask
    };
    let off = entry::items(answer)
        .and_then(|flat| entry::text(entry::lookup(&flat, "appendonly")?))
        .is_some_and(|value| value == "no");
    if off {
        tracing::warn!(
            server = &*link.endpoint.at,
            "redis: appendonly is off, messages do not survive a restart of the server; \
             set `appendonly yes` there"
        );
    }
}
