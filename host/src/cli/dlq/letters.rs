//! What a broker must be able to do for its dead letters to be looked after.

use futures_util::future::BoxFuture;

use crate::cli::failure::Result;
use crate::cli::record::Record;
use crate::message::Outgoing;

/// A message that is to leave its place.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Move {
    /// Where it is.
    pub(in crate::cli) position: String,
    /// What it is to be where it goes.
    pub(in crate::cli) message: Outgoing,
}

/// Messages at rest. `place` is a topic or stream; a place that does not exist is empty.
pub(in crate::cli) trait Letters: Send + Sync {
    /// Whether messages stay where they are for good: what is sent back is then copied, and nothing can be deleted.
    fn keeps(&self) -> bool {
        false
    }

    /// How many messages there are.
    fn count<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<u64>>;

    /// At most `limit` messages behind the position `after`, oldest first. None at the end.
    fn browse<'a>(
        &'a self,
        place: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Record>>>;

    /// Moves messages to another place of the same broker. Each is in exactly one of the two at any time, whatever
    /// happens on the way, unless this place [`keeps`](Self::keeps) them. Answers how many were still there to be moved.
    fn redrive<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<u64>>;

    /// Deletes messages. Answers how many were there.
    fn delete<'a>(&'a self, place: &'a str, positions: &'a [String]) -> BoxFuture<'a, Result<u64>>;
}
