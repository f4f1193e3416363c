//! Members of a group at work, and what they have seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{Host, LOOK, PATIENCE, room};

/// What members of a group have had in hand, in the order they had it.
pub type Seen = Arc<parking_lot::Mutex<Vec<(String, usize)>>>;

/// A member at work until it is told to stop: it accepts everything, and notes key and number.
pub struct Worker {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Worker {
    pub fn start(mut host: Host, seen: &Seen) -> Self {
        let (stop, seen) = (CancellationToken::new(), Arc::clone(seen));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                let some = tokio::select! {
                    () = stopped.cancelled() => break,
                    some = host.source.fetch(room(50)) => some.expect("fetched"),
                };
                for delivery in &some {
                    let message = delivery.message();
                    let key = message.key.as_deref().unwrap_or_default();
                    let number = std::str::from_utf8(&message.payload).expect("a number");
                    seen.lock().push((
                        String::from_utf8_lossy(key).into_owned(),
                        number.parse().expect("a number"),
                    ));
                }
                // One that went elsewhere meanwhile is refused, and comes again there.
                host.try_accept(some).await;
            }
            host.stop().await;
        });
        Self { stop, task }
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it worked to the end");
    }
}

/// Waits until as many different messages were seen.
pub async fn until_seen(seen: &Seen, count: usize) {
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        let different = {
            let seen = seen.lock();
            let numbers: BTreeSet<usize> = seen.iter().map(|(_, n)| *n).collect();
            numbers.len()
        };
        if different >= count {
            return;
        }
        assert!(Instant::now() < deadline, "{different} of {count} came");
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the messages of each key came in order, repeats left out. Answers how many repeats there were.
pub fn check_order(seen: &Seen) -> usize {
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    let mut repeats = 0;
    for (key, number) in seen.lock().iter() {
        if !numbers.insert(*number) {
            repeats += 1;
            continue;
        }
        if let Some(before) = last.insert(key.clone(), *number) {
            assert!(before < *number, "{key}: {number} came after {before}");
        }
    }
    repeats
}
