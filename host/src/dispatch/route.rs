//! What dispatch knows of one subscription: its policy, where it may publish, its window and its state.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::commit::Destination;
use crate::config::{OnDeadLetter, Order, Redact};
use crate::delivery::{Delivery, Inbox};
use crate::dispatch::attempt::Policy;
use crate::dispatch::lane::Lanes;
use crate::dispatch::ready::Ready;
use crate::dispatch::window::Window;
use crate::ports::{Clock, SubscriptionSpec};
use crate::telemetry::SubscriptionMetrics;

/// A delivery on its way through dispatch.
#[derive(Debug)]
pub struct Job {
    /// The message and the right to settle it.
    pub delivery: Delivery,
    /// The lane it holds; `None` without an order promise.
    pub lane: Option<u32>,
    /// Whose it is.
    pub route: Arc<Route>,
}

/// Why a subscription reads nothing just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pause {
    /// It reads.
    No,
    /// A destination cannot be reached; its outputs are held.
    Destination(String),
    /// The plugin's breaker is open.
    Breaker,
    /// Somebody asked for it.
    Asked,
    /// A dead letter halted it (`on_dead_letter: halt`).
    Halted,
}

/// One subscription of one plugin.
pub struct Route {
    /// Where it reads.
    pub spec: SubscriptionSpec,
    /// The broker it reads from.
    pub broker: Arc<str>,
    /// Retry, order, capabilities.
    pub policy: Policy,
    /// Which messages share a lane.
    pub order: Order,
    /// Whether a lane goes on after a dead letter.
    pub on_dead_letter: OnDeadLetter,
    /// What must not appear in a dead letter's diagnostics.
    pub redact: Redact,
    /// Where its plugin may publish, by configured name.
    pub destinations: HashMap<String, Arc<Destination>>,
    /// Whether `reply` may be used.
    pub replies: bool,
    /// Where its dead letters go.
    pub dead_letters: Arc<Destination>,
    /// Where its deliveries end.
    pub inbox: Arc<Inbox>,
    /// What it may have in hand.
    pub window: Window,
    /// What waits behind running heads.
    pub lanes: Lanes<Job>,
    /// Where its messages queue for an instance: shared by all subscriptions of the plugin.
    pub ready: Arc<Ready>,
    /// Counters.
    pub metrics: Arc<SubscriptionMetrics>,
    /// Time of day.
    pub clock: Clock,
    /// Written by the committer (destination down), the workers (breaker) and commands; the intake waits on it.
    pub pause: watch::Sender<Pause>,
    /// Serialises read-modify-write of `pause`.
    pub pausing: Mutex<()>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl Route {
    /// Stops reading for `reason` unless it already stands still for another. Answers whether this did it.
    pub fn pause(&self, reason: Pause) -> bool {
        let _one_at_a_time = self.pausing.lock();
        let reads = *self.pause.borrow() == Pause::No;
        if reads {
            tracing::warn!(plugin = %self.spec.plugin, subscription = %self.spec.name, ?reason, "subscription paused");
            self.metrics.paused.set(1);
            self.pause.send_replace(reason);
        }
        reads
    }

    /// Reads again, if it stands still for a reason `matches` accepts.
    pub fn resume(&self, matches: impl Fn(&Pause) -> bool) {
        let _one_at_a_time = self.pausing.lock();
        let paused = { *self.pause.borrow() != Pause::No && matches(&self.pause.borrow()) };
        if paused {
            tracing::info!(plugin = %self.spec.plugin, subscription = %self.spec.name, "subscription resumed");
            self.metrics.paused.set(0);
            self.pause.send_replace(Pause::No);
        }
    }
}
