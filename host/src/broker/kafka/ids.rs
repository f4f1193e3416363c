//! Whether a topic is still the one it was.
//!
//! A topic that is deleted and made again has its name back and nothing else. The client goes on at its old offset, and
//! where the new log has grown beyond that, what lies before it would never be read (librdkafka 2.12, a note in its
//! `rd_kafka_topic_metadata_update`). So the ids of topics are asked for now and then, and at once when the client says that one
//! is missing: its partitions wait until it is known which topic they belong to. One that is another is read from its
//! beginning.
//!
//! What will surprise you: where the client has noticed nothing, it may have read some of the new topic by then, and that is
//! handled twice. Where it has, nothing of the topic is handed out before it is known which one it is. And an id is kept when its topic leaves us: it leaves because it was deleted, too, and where it is back
//! before the group's offsets of the one before are gone, it would be read from there. The price: a host that gets a topic
//! again which was made anew while others had it reads it from its beginning once more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::describe::Id;

/// How often all are asked for.
const EVERY: Duration = Duration::from_secs(2);
/// How often while one is missing, or new.
const SOON: Duration = Duration::from_millis(200);

/// What is known: of every topic that was ever ours.
#[derive(Debug, Default)]
pub(super) struct Ids {
    known: HashMap<Arc<str>, Id>,
    asked_at: Option<Instant>,
    waiting: bool,
}

/// Which topic a name stands for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The one it was, or the first one that is known.
    Same,
    Another,
}

impl Ids {
    /// Whether to ask now for the ids of what is ours; `missing` where the client says that something is not there. It is then
    /// taken as asked.
    pub(super) fn is_due(&mut self, ours: &[Arc<str>], missing: bool, now: Instant) -> bool {
        let soon = missing || ours.iter().any(|topic| !self.known.contains_key(topic));
        let every = if soon { SOON } else { EVERY };
        let due = self.asked_at.is_none_or(|at| now >= at + every);
        let ask = due && !self.waiting && !ours.is_empty();
        if ask {
            self.asked_at = Some(now);
            self.waiting = true;
        }
        ask
    }

    /// The question was answered.
    pub(super) fn answered(&mut self) {
        self.waiting = false;
    }

    pub(super) fn which(&self, topic: &str, id: Id) -> Which {
        match self.known.get(topic) {
            Some(known) if *known != id => Which::Another,
            _ => Which::Same,
        }
    }

    pub(super) fn know(&mut self, topic: &Arc<str>, id: Id) {
        self.known.insert(Arc::clone(topic), id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_or_missing_is_asked_for_soon_and_the_rest_now_and_then() {
        let (mut ids, start) = (Ids::default(), Instant::now());
        let ours: [Arc<str>; 1] = ["orders".into()];
        assert!(!ids.is_due(&[], false, start), "nothing is ours");
        assert!(ids.is_due(&ours, false, start));
        assert!(!ids.is_due(&ours, false, start + EVERY), "one at a time");
        ids.answered();
        assert!(ids.is_due(&ours, false, start + SOON), "not known yet");
        ids.answered();
        ids.know(&ours[0], (1, 1));
        let then = start + SOON * 2;
        assert!(!ids.is_due(&ours, false, then));
        assert!(ids.is_due(&ours, true, then), "missing");
        ids.answered();
        assert!(ids.is_due(&ours, false, then + EVERY));
    }

    #[test]
    fn another_id_is_another_topic_until_it_is_known_also_where_the_topic_left_us() {
        let mut ids = Ids::default();
        let orders: Arc<str> = "orders".into();
        assert_eq!(ids.which("orders", (1, 1)), Which::Same, "the first");
        ids.know(&orders, (1, 1));
        assert_eq!(ids.which("orders", (1, 1)), Which::Same);
        assert_eq!(ids.which("orders", (1, 2)), Which::Another);
        ids.know(&orders, (1, 2));
        assert_eq!(ids.which("orders", (1, 2)), Which::Same);
        assert!(!ids.is_due(&[], false, Instant::now()), "nothing is ours");
        assert_eq!(ids.which("orders", (1, 3)), Which::Another);
    }
}
