//! Runs a guest's future under its deadline and its turn.
//!
//! A call that is done at its first poll, as nearly all are, pays two looks at the clock. One that ticks goes through
//! `on_tick`; one that blocks in a host call gets a timer then, and not before.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::UpdateDeadline;

use super::clock::Clock;
use super::ticker::{TICK, Ticker};
use super::turns::{PluginId, Turn, Turns};

/// Ticks before a guest must hold a turn. Two, because the first may come at once.
pub(super) const FREE_TICKS: u64 = 2;

/// What a call's future and its ticks share. One per instance.
///
/// The lock is taken by the task that runs the instance and by nobody else: it is there because the future borrows the
/// store.
pub(super) struct Progress {
    state: Mutex<State>,
    plugin: PluginId,
    turns: Arc<Turns>,
    ticker: Arc<Ticker>,
}

struct State {
    clock: Clock,
    turn: Option<Turn>,
}

/// The deadline passed while the call was blocked in the host. The instance must not be used again.
pub(super) struct Stopped;

impl Progress {
    pub(super) fn new(plugin: PluginId, turns: Arc<Turns>, ticker: Arc<Ticker>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                clock: Clock::new(),
                turn: None,
            }),
            plugin,
            turns,
            ticker,
        })
    }

    /// Runs `call`, which must have the epoch deadline set to [`FREE_TICKS`], and answers how long the guest ran.
    pub(super) async fn run<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = T>,
    ) -> (Result<T, Stopped>, Duration) {
        let _finish = Finish(self);
        let mut call = pin!(call);
        let mut timer = None;
        let mut first = true;
        let result = std::future::poll_fn(|cx| {
            self.ticker.touch();
            let now = Instant::now();
            if std::mem::take(&mut first) {
                self.state.lock().clock.start(now, deadline);
            } else {
                self.state.lock().clock.polled(now, TICK);
            }
            if let Poll::Ready(result) = call.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            let now = Instant::now();
            let Some(left) = self.blocked(now) else {
                timer = None;
                return Poll::Pending;
            };
            if left.is_zero() {
                return Poll::Ready(Err(Stopped));
            }
            // A guest that goes from one host call to the next keeps its timer moving.
            let timer = match &mut timer {
                Some(timer) => timer,
                None => timer.insert(Box::pin(tokio::time::sleep_until(now + left))),
            };
            if timer.deadline() != now + left {
                timer.as_mut().reset(now + left);
            }
            timer.as_mut().poll(cx).map(|()| Err(Stopped))
        })
        .await;
        let ran = self.state.lock().clock.end(Instant::now());
        (result, ran)
    }

    /// A call that is not ready: where it blocks in the host, its turn goes to somebody else.
    fn blocked(&self, now: Instant) -> Option<Duration> {
        let (left, turn) = {
            let mut state = self.state.lock();
            let left = state.clock.pending(now)?;
            (left, state.turn.take())
        };
        drop(turn);
        Some(left)
    }

    /// The guest has used up its ticks.
    pub(super) fn on_tick(self: &Arc<Self>) -> UpdateDeadline {
        self.ticker.touch();
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.clock.expired(now) {
            return UpdateDeadline::Interrupt;
        }
        if state.clock.take_fresh() {
            return UpdateDeadline::Continue(1);
        }
        if state.turn.is_some() && self.turns.contended() {
            // Given up with the lock held: nothing behind it takes this lock.
            state.turn = None;
            state.clock.wait(now);
            return UpdateDeadline::YieldCustom(1, Box::pin(Arc::clone(self).wait_for_turn()));
        }
        if state.turn.is_none() {
            state.turn = self.turns.try_take();
        }
        let has_turn = state.turn.is_some();
        state.clock.wait(now);
        let this = Arc::clone(self);
        if has_turn {
            UpdateDeadline::YieldCustom(1, Box::pin(this.let_others_in()))
        } else {
            UpdateDeadline::YieldCustom(1, Box::pin(this.wait_for_turn()))
        }
    }

    /// Who runs long lets every task of its worker go first, once a tick.
    async fn let_others_in(self: Arc<Self>) {
        tokio::task::yield_now().await;
        self.state.lock().clock.resume(Instant::now());
    }

    async fn wait_for_turn(self: Arc<Self>) {
        let turn = Arc::clone(&self.turns).take(self.plugin).await;
        let mut state = self.state.lock();
        state.turn = Some(turn);
        state.clock.resume(Instant::now());
    }
}

/// Gives the turn back however a call ends, cancellation included.
struct Finish<'a>(&'a Progress);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let turn = self.0.state.lock().turn.take();
        drop(turn);
    }
}
