//! One sandbox: a store, an instantiation, and how often it may still be used.
//!
//! One store per instance, because only dropping a store frees its instance. After a trap, a passed deadline or a
//! cancelled call it is never entered again: it is dropped.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmtime::Store;

use super::call::{FREE_TICKS, Progress, Stopped};
use super::context::Context;
use super::contract::{CallInfo, Guest};
use super::engine::Engine;
use super::fault;
use super::limits::Limiter;
use super::logs::Logs;
use super::outputs;
use super::places::Place;
use super::plugin_parts::Parts;
use super::ran::Ran;
use super::version::{Live, Version};
use crate::handler::{AttemptInfo, Fault, FaultKind, Outcome};
use crate::message::Message;

/// Room for the fixed parts of a call's results beyond the output limit, and for any other host call.
const HOSTCALL_ROOM: usize = 1 << 20;

/// A live sandbox. Fields are dropped in order: the store before its place in the pool is given back.
pub(super) struct Instance {
    store: Store<Context>,
    guest: Guest,
    progress: Arc<Progress>,
    logs: Logs,
    /// Of its version. A copy of its own: a count that all threads share moves between their caches at every call.
    pub(super) digest: Arc<str>,
    /// How long it ran.
    pub(super) ran: Ran,
    /// Messages until it is replaced.
    left: u32,
    /// Bytes of memory above which it is replaced.
    soft_limit: u64,
    pub(super) idle_since: Instant,
    _live: Live,
    _slot: OwnedSemaphorePermit,
    /// Its plugin's, for as long as it lives. A probe has none.
    place: Option<Place>,
}

impl Instance {
    /// Instantiates `version`. Its start-up code runs under the plugin's deadline and limits.
    pub(super) async fn create(
        engine: &Engine,
        parts: &Parts,
        version: &Version,
    ) -> Result<Self, Fault> {
        let Some(slot) = engine.slot().await else {
            return Err(Fault::new(FaultKind::NotRun, "the host is stopping"));
        };
        let logs = Logs::new(
            Arc::clone(&parts.settings.name),
            Arc::clone(&version.digest),
            u32::try_from(parts.settings.limits.log.as_u64()).unwrap_or(u32::MAX),
            Arc::clone(&parts.rate),
            Arc::clone(&parts.metrics),
        );
        let mut store = store(engine, parts, &logs);
        let progress = Progress::new(
            parts.id,
            Arc::clone(&engine.turns),
            Arc::clone(&engine.ticker),
        );
        let ticks = Arc::clone(&progress);
        store.epoch_deadline_callback(move |_| Ok(ticks.on_tick()));
        store.set_epoch_deadline(FREE_TICKS);
        let deadline = parts.settings.limits.deadline;
        let mut ran = Ran::new(&parts.metrics);
        let (result, took) = progress
            .run(deadline, version.prepared.instantiate(&mut store))
            .await;
        ran.add(took);
        logs.end();
        let guest = settle(result, deadline, &logs)?;
        let used = store.data().limiter.used();
        let limit = store.data().limiter.limit();
        Ok(Self {
            store,
            guest,
            progress,
            logs,
            digest: Arc::from(&*version.digest),
            ran,
            left: parts.messages_per_instance(),
            // Half the limit; half of what is left where a runtime takes more than that to start.
            soft_limit: (limit / 2).max(used + limit.saturating_sub(used) / 2),
            idle_since: Instant::now(),
            _live: version.live(&parts.metrics),
            _slot: slot,
            place: None,
        })
    }

    /// Runs one message. After a fault that is the guest's this instance must be dropped.
    pub(super) async fn handle(
        &mut self,
        parts: &Parts,
        message: &Message,
        attempt: AttemptInfo,
    ) -> Result<Outcome, Fault> {
        let limits = &parts.settings.limits;
        let info = CallInfo {
            attempt,
            time_left_ms: u32::try_from(limits.deadline.as_millis()).unwrap_or(u32::MAX),
            origin: parts.settings.provide.origin,
            headers: &parts.settings.provide.headers,
        };
        self.left = self.left.saturating_sub(1);
        self.logs.begin(&message.id);
        self.store.set_epoch_deadline(FREE_TICKS);
        let call = self.guest.handle(&mut self.store, message, info);
        let (result, took) = self.progress.run(limits.deadline, call).await;
        self.ran.add(took);
        self.logs.end();
        settle(result, limits.deadline, &self.logs)
    }

    /// What a call returned, where the plugin may have it published; otherwise a fault with the last lines it wrote.
    pub(super) fn checked(
        &self,
        parts: &Parts,
        message: &Message,
        outcome: Outcome,
    ) -> Result<Outcome, Fault> {
        if let Outcome::Done(outgoing) = &outcome
            && let Err(fault) = outputs::check(&parts.settings, message, outgoing)
        {
            let stderr = self.logs.tail();
            return Err(Fault { stderr, ..fault });
        }
        Ok(outcome)
    }

    /// Takes a place of its plugin until it is dropped.
    pub(super) fn keep(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Whether it may take another message.
    pub(super) fn is_good(&self) -> bool {
        self.left > 0 && self.store.data().limiter.used() <= self.soft_limit
    }
}

fn store(engine: &Engine, parts: &Parts, logs: &Logs) -> Store<Context> {
    let limits = &parts.settings.limits;
    let limiter = Limiter::new(
        limits.memory.as_u64(),
        Arc::clone(&engine.budget),
        Arc::clone(&parts.metrics),
    );
    let context = Context::new(logs, Arc::clone(&parts.config), limiter);
    let mut store = Store::new(engine.wasmtime(), context);
    store.limiter(|context| &mut context.limiter);
    let outputs = limits.output.as_usize();
    store.set_hostcall_fuel(outputs.saturating_mul(2).saturating_add(HOSTCALL_ROOM));
    store
}

fn settle<T>(
    result: Result<wasmtime::Result<T>, Stopped>,
    deadline: Duration,
    logs: &Logs,
) -> Result<T, Fault> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault::from_error(&error, deadline.as_millis(), logs.tail())),
        Err(Stopped) => {
            let mut fault = Fault::new(
                FaultKind::Deadline,
                format!(
                    "{}, waiting in a host call",
                    fault::deadline_passed(deadline.as_millis())
                ),
            );
            fault.stderr = logs.tail();
            Err(fault)
        }
    }
}
