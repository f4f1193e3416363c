//! The clock that makes guests look up: one OS thread that moves the engine's epoch every millisecond.
//!
//! It is a thread of its own because a spinning guest can keep a tokio timer from firing; its schedule is absolute
//! because sleeping a millisecond in a loop drifts by a tenth. While no guest runs it parks, so an idle host makes no
//! wake-ups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::EngineWeak;

/// How often guests look up.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// Ticks without a running guest before the thread parks.
const IDLE_TICKS: u32 = 100;

/// What guests and the thread share.
///
/// `seen` is set by whoever runs a guest and taken by the thread every hundred ticks; `parked` says that the thread
/// waits to be woken. The two are read and written in opposite order with sequential consistency, so that either the
/// guest sees the parked thread or the thread sees the guest.
#[derive(Debug)]
pub(super) struct Ticker {
    seen: AtomicBool,
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Ticker {
    /// Starts the thread. It ends when the engine is gone or [`stop`](Self::stop) is called.
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Arc<Self>> {
        let ticker = Arc::new(Self {
            seen: AtomicBool::new(true),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let shared = Arc::clone(&ticker);
        let handle = thread::Builder::new()
            .name("wharf-ticker".into())
            .spawn(move || shared.run(&engine))?;
        *ticker.thread.lock() = Some(handle.thread().clone());
        Ok(ticker)
    }

    /// A guest is about to run, or runs.
    #[inline]
    pub(super) fn touch(&self) {
        // Read first: the line stays shared between all workers while guests run.
        if !self.seen.load(Ordering::Relaxed) {
            self.seen.store(true, Ordering::SeqCst);
            if self.parked.load(Ordering::SeqCst) {
                self.wake();
            }
        }
    }

    #[cold]
    fn wake(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
        }
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn run(&self, engine: &EngineWeak) {
        let mut next = Instant::now();
        let mut ticks = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(engine) = engine.upgrade() else {
                return;
            };
            engine.increment_epoch();
            drop(engine);
            ticks += 1;
            if ticks == IDLE_TICKS {
                ticks = 0;
                if !self.seen.swap(false, Ordering::SeqCst) {
                    self.park();
                    next = Instant::now();
                }
            }
            next += TICK;
            let now = Instant::now();
            match next.checked_duration_since(now) {
                Some(left) => thread::sleep(left),
                // Behind by more than a tick: catch up by skipping, not by ticking in a burst.
                None => next = now,
            }
        }
    }

    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while !self.seen.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}
