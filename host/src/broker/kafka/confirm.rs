//! What became of the outputs of one batch, told once for all of them.
//!
//! The client tells of each output on a thread of its own. Whoever waited for them one by one would be woken for each,
//! which costs more than sending it. So they are counted, and only the last one wakes; what failed is noted by its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rdkafka::error::KafkaError;
use tokio::sync::Notify;

/// One batch on its way. Whoever sends it waits with [`told`](Self::told).
#[derive(Debug)]
pub(super) struct Batch {
    /// Tickets that are out, and one for whoever waits.
    left: AtomicUsize,
    failed: Mutex<Vec<(usize, KafkaError)>>,
    all: Notify,
}

/// One output's place in its batch. It goes through the client with the output, and one that is lost there is an output
/// that was not confirmed.
#[derive(Debug)]
pub(super) struct Ticket {
    batch: Arc<Batch>,
    place: usize,
    result: Result<(), KafkaError>,
}

impl Batch {
    /// Nothing sent yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(1),
            failed: Mutex::default(),
            all: Notify::new(),
        })
    }

    /// For the output at this place of the batch.
    pub(super) fn ticket(self: &Arc<Self>, place: usize) -> Ticket {
        self.left.fetch_add(1, Ordering::Relaxed);
        Ticket {
            batch: Arc::clone(self),
            place,
            result: Err(KafkaError::Canceled),
        }
    }

    /// Waits until the client has told of all of them. Answers what failed, by place; the others are confirmed. Called
    /// once, after the last ticket was given out.
    pub(super) async fn told(&self) -> Vec<(usize, KafkaError)> {
        if !self.one_less() {
            self.all.notified().await;
        }
        std::mem::take(&mut *self.failed.lock())
    }

    /// Whether it was the last.
    fn one_less(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Ticket {
    /// The client has told of the output.
    pub(super) fn tell(mut self, result: Result<(), KafkaError>) {
        self.result = result;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Err(error) = std::mem::replace(&mut self.result, Ok(())) {
            self.batch.failed.lock().push((self.place, error));
        }
        if self.batch.one_less() {
            self.batch.all.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_one_ends_the_wait_and_what_failed_is_known_by_its_place() {
        let batch = Batch::new();
        let [first, second, third] = [0, 1, 2].map(|place| batch.ticket(place));
        first.tell(Ok(()));
        drop(second);
        let waiting = batch.told();
        tokio::pin!(waiting);
        let early = timeout(Duration::from_secs(1), waiting.as_mut()).await;
        assert!(early.is_err(), "one is still to be told of");
        third.tell(Err(KafkaError::NoMessageReceived));
        let failed = waiting.await;
        assert_eq!(
            failed,
            [
                (1, KafkaError::Canceled),
                (2, KafkaError::NoMessageReceived)
            ]
        );
    }

    #[tokio::test]
    async fn all_that_was_told_before_needs_no_wait() {
        let batch = Batch::new();
        batch.ticket(0).tell(Ok(()));
        assert!(batch.told().await.is_empty());
        assert!(Batch::new().told().await.is_empty(), "an empty one");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn threads_that_tell_at_once_are_all_counted() {
        for _ in 0..200 {
            let batch = Batch::new();
            let tickets: Vec<Ticket> = (0..64).map(|place| batch.ticket(place)).collect();
            let telling = std::thread::spawn(move || {
                for ticket in tickets {
                    let odd = ticket.place % 2 == 1;
                    ticket.tell(if odd {
                        Err(KafkaError::Canceled)
                    } else {
                        Ok(())
                    });
                }
            });
            assert_eq!(batch.told().await.len(), 32);
            telling.join().unwrap();
        }
    }
}
