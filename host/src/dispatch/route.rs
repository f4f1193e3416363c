//! What dispatch knows of one subscription: its policy, where it may publish, its window and its state.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::commit::Destination;
use crate::config::{OnDeadLetter, Order, Redact};
use crate::delivery::{Delivery, Inbox};
use crate::dispatch::attempt::Policy;
use crate::dispatch::lane::{Lane, Lanes};
use crate::dispatch::patience::Patience;
use crate::dispatch::ready::Ready;
use crate::dispatch::window::Window;
use crate::place::PlaceKind;
use crate::ports::{Clock, SubscriptionSpec};
use crate::telemetry::SubscriptionMetrics;

/// A delivery on its way through dispatch.
#[derive(Debug)]
pub(super) struct Job {
    /// The message and the right to settle it.
    pub(super) delivery: Delivery,
    /// The lane it holds; `None` without an order promise.
    pub(super) lane: Option<Lane>,
    /// Whose it is.
    pub(super) route: Arc<Route>,
}

/// A reason for a subscription to read nothing. Several can hold at once; it reads when none does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pause {
    /// A broker does not take outputs or settlements; they are held. Says which and why.
    Destination(String),
    /// The plugin's breaker is open.
    Breaker,
    /// Somebody asked for it.
    Asked,
    /// A dead letter halted it (`on_dead_letter: halt`).
    Halted,
}

impl Pause {
    fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// One subscription of one plugin.
pub(super) struct Route {
    /// Where it reads.
    pub(super) spec: SubscriptionSpec,
    /// The broker it reads from.
    pub(super) broker: Arc<str>,
    /// Retry, order, capabilities.
    pub(super) policy: Policy,
    /// How long its broker lets a message wait here, where there is a bound.
    pub(super) patience: Option<Patience>,
    /// Which messages share a lane.
    pub(super) order: Order,
    /// Whether a lane goes on after a dead letter.
    pub(super) on_dead_letter: OnDeadLetter,
    /// What must not appear in a dead letter's diagnostics.
    pub(super) redact: Redact,
    /// Where its plugin may publish, by configured name.
    pub(super) destinations: HashMap<String, Arc<Destination>>,
    /// Whether `reply` may be used.
    pub(super) replies: Option<PlaceKind>,
    /// Where its dead letters go.
    pub(super) dead_letters: Arc<Destination>,
    /// Where its deliveries end.
    pub(super) inbox: Arc<Inbox>,
    /// What it may have in hand.
    pub(super) window: Window,
    /// What waits behind running heads.
    pub(super) lanes: Lanes<Job>,
    /// Where its messages queue for an instance: shared by all subscriptions of the plugin.
    pub(super) ready: Arc<Ready<Job>>,
    /// Counters.
    pub(super) metrics: Arc<SubscriptionMetrics>,
    /// Time of day.
    pub(super) clock: Clock,
    /// Written by the committer (destination down), the workers (breaker) and commands; the intake waits on it.
    pub(super) pause: watch::Sender<Vec<Pause>>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl Route {
    /// Stops reading for `reason`, until [`resume`](Self::resume). Answers whether that reason is new.
    pub(super) fn pause(&self, reason: Pause) -> bool {
        let new = self.pause.send_if_modified(|reasons| {
            let new = !reasons.iter().any(|r| r.same_kind(&reason));
            reasons.retain(|r| !r.same_kind(&reason));
            reasons.push(reason.clone());
            // Before anybody can see the reason, so that no two views of it differ.
            self.metrics.paused.set(1);
            new
        });
        if new {
            tracing::warn!(plugin = %self.spec.plugin, subscription = %self.spec.name, ?reason, "subscription paused");
        }
        new
    }

    /// Something goes back to the broker undecided: where an order is promised, all that waits behind it does as well.
    /// Answers how many those are.
    pub(super) fn rewind(&self) -> usize {
        if !self.policy.ordered {
            return 0;
        }
        // Dropping them releases them.
        self.lanes.rewind().len()
    }

    /// Takes back the reasons `matches` accepts.
    pub(super) fn resume(&self, matches: impl Fn(&Pause) -> bool) {
        let mut reads = false;
        let changed = self.pause.send_if_modified(|reasons| {
            let before = reasons.len();
            reasons.retain(|r| !matches(r));
            reads = reasons.is_empty();
            if reads {
                self.metrics.paused.set(0);
            }
            reasons.len() < before
        });
        if changed && reads {
            tracing::info!(plugin = %self.spec.plugin, subscription = %self.spec.name, "subscription resumed");
        }
    }
}
