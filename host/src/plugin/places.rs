//! How many instances a plugin may have, and the wait for one of them.
//!
//! A place belongs to an instance for as long as that lives, not to a call: a call that finds an idle instance, as
//! nearly all do, touches no count that all threads share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The right to one instance. Given back when dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// The places of one plugin.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// Calls that wait. Raised before they look a last time: who puts an instance back and sees none has put it where
    /// they will look.
    waiting: AtomicUsize,
    /// Rung when an instance came back while somebody waited.
    back: Notify,
}

/// What a call got.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// An idle instance.
    Idle(T),
    /// A place for a new one.
    Place(Place),
}

impl Places {
    pub(super) fn new(instances: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(instances)),
            waiting: AtomicUsize::new(0),
            back: Notify::new(),
        }
    }

    /// What `idle` gives, or a place, whichever comes first; an idle one where both are there. `None`: the host is
    /// stopping. Cancel-safe.
    pub(super) async fn find<T>(&self, mut idle: impl FnMut() -> Option<T>) -> Option<Found<T>> {
        if let Some(idle) = idle() {
            return Some(Found::Idle(idle));
        }
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(Found::Place(place));
        }
        let _waits = Waits::new(&self.waiting);
        let mut woken = false;
        loop {
            if let Some(idle) = idle() {
                // A ring that was stored stands for any number of instances.
                if woken {
                    self.back.notify_one();
                }
                return Some(Found::Idle(idle));
            }
            let free = Arc::clone(&self.free);
            tokio::select! {
                place = free.acquire_owned() => return place.ok().map(Found::Place),
                () = self.back.notified() => woken = true,
            }
        }
    }

    /// An instance became idle.
    pub(super) fn came_back(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.back.notify_one();
        }
    }
}

/// One call that waits.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn an_idle_instance_comes_before_a_place() {
        let places = Places::new(1);
        let found = places.find(|| Some("idle")).await;
        assert!(matches!(found, Some(Found::Idle("idle"))));
        let found = places.find(|| None::<()>).await;
        assert!(matches!(found, Some(Found::Place(_))));
    }

    #[tokio::test]
    async fn all_who_wait_are_served_by_what_comes_back_at_once() {
        let places = Arc::new(Places::new(0));
        let idle = Arc::new(Mutex::new(Vec::new()));
        let wait = || {
            let (places, idle) = (Arc::clone(&places), Arc::clone(&idle));
            tokio::spawn(async move { places.find(|| idle.lock().pop()).await })
        };
        let calls = [wait(), wait(), wait()];
        tokio::task::yield_now().await;
        // Before any of them can look: one ring is all that is stored.
        for instance in 0..3 {
            idle.lock().push(instance);
            places.came_back();
        }
        for call in calls {
            let found = call.await.expect("no panic");
            assert!(matches!(found, Some(Found::Idle(_))));
        }
        assert_eq!(places.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_place_given_back_serves_who_waits() {
        let places = Places::new(1);
        let Some(Found::Place(place)) = places.find(|| None::<()>).await else {
            panic!("there is one");
        };
        let mut call = Box::pin(places.find(|| None::<()>));
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(place);
        assert!(matches!(call.await, Some(Found::Place(_))));
    }
}
