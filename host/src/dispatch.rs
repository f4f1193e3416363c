//! A message's fate, from the moment a source has it until its broker knows what became of it.
//!
//! ```text
//! source ─ intake ─ lane ─ ready ─ worker ── handler
//!                            ▲        │
//!                           held ◄── attempt::decide
//!                                     │
//! broker ◄──────── committer ◄──── inbox
//! ```
//!
//! One [`intake`] and one [`committer`] per subscription run beside the brokers; [`worker`]s, one per sandbox, run on
//! the guests' runtime. There is no second path: whatever becomes of a message, it ends in its subscription's inbox,
//! once, by type.
//!
//! What bounds it: a window per subscription and one for the host, in messages and bytes ([`window`]). Every queue
//! here holds only messages that have a place in both.

mod answer;
pub mod attempt;
pub mod breaker;
mod committer;
mod dead_letter;
mod desk;
mod drain;
mod held;
mod intake;
mod lane;
mod outputs;
mod patience;
mod ready;
pub mod retry;
mod route;
mod sweep;
mod window;
mod worker;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::commit::Destination;
use crate::config::{OnDeadLetter, Order, Redact};
use crate::delivery::Inbox;
use crate::handler::Handler;
use crate::place::PlaceKind;
use crate::ports::{Clock, Publisher, Subscribed, SubscriptionSpec};
use crate::telemetry::SubscriptionMetrics;

use self::attempt::Policy;
use self::breaker::Breaker;
use self::committer::{Committer, Ends, Flushed};
use self::held::Held;
use self::patience::Patience;
use self::ready::Ready;
use self::route::Route;
use self::window::Window;
use self::worker::Crew;

pub use self::dead_letter::is_diagnosis;
pub use self::drain::Drained;
pub use self::route::Pause;

/// A plugin as dispatch needs it.
pub struct PluginLine {
    /// Runs its messages.
    pub handler: Arc<dyn Handler>,
    /// Messages run at once: as many as it may have sandboxes. At least 1.
    pub workers: usize,
    /// Its breaker, if it has one.
    pub breaker: Option<breaker::Settings>,
}

/// A subscription as dispatch needs it.
pub struct Line {
    /// Where it reads.
    pub spec: SubscriptionSpec,
    /// The broker it reads from.
    pub broker: Arc<str>,
    /// Retry, order, capabilities.
    pub policy: Policy,
    /// Which messages share a lane.
    pub order: Order,
    /// Whether it goes on after a dead letter.
    pub on_dead_letter: OnDeadLetter,
    /// What must not appear in diagnostics.
    pub redact: Redact,
    /// Where the plugin may publish, by configured name.
    pub destinations: HashMap<String, Arc<Destination>>,
    /// Whether it may use `reply`.
    pub replies: Option<PlaceKind>,
    /// Where its dead letters go.
    pub dead_letters: Arc<Destination>,
    /// Every broker its destinations live at.
    pub publishers: HashMap<Arc<str>, Arc<dyn Publisher>>,
    /// Most messages and bytes in hand.
    pub window: (usize, usize),
    /// Counters.
    pub metrics: Arc<SubscriptionMetrics>,
    /// The inbox it was subscribed with.
    pub inbox: Arc<Inbox>,
    /// Its broker's halves.
    pub subscribed: Subscribed,
}

/// All subscriptions of a host.
pub struct Dispatcher {
    host_window: Arc<Window>,
    clock: Clock,
    /// Where guests run.
    guests: Handle,
    /// Stops fetching.
    stop: CancellationToken,
    /// Ends committers.
    ends: Ends,
    parts: Mutex<Parts>,
}

/// Everything that was started, in order to stop it.
#[derive(Default)]
struct Parts {
    crews: Vec<Arc<Crew>>,
    workers: Vec<JoinHandle<()>>,
    intakes: Vec<JoinHandle<()>>,
    committers: Vec<JoinHandle<Flushed>>,
    routes: Vec<Arc<Route>>,
}

impl Dispatcher {
    /// A dispatcher without subscriptions. `in_flight` bounds messages and bytes over all of them; `guests` is the
    /// runtime handlers run on. Must be called within the runtime that intakes and committers shall run on.
    pub fn new(in_flight: (usize, usize), clock: Clock, guests: Handle) -> Self {
        Self {
            host_window: Arc::new(Window::new(in_flight.0, in_flight.1)),
            clock,
            guests,
            stop: CancellationToken::new(),
            ends: Ends::default(),
            parts: Mutex::default(),
        }
    }

    /// Starts a plugin's workers and then its subscriptions.
    pub fn start(&self, plugin: PluginLine, lines: Vec<Line>) -> Vec<Subscription> {
        let workers = plugin.workers.max(1);
        let crew = Arc::new(Crew {
            handler: plugin.handler,
            ready: Arc::new(Ready::new(workers)),
            held: Arc::new(Held::default()),
            breaker: plugin
                .breaker
                .map(|settings| Mutex::new(Breaker::new(settings))),
        });
        let mut parts = self.parts.lock();
        for number in 0..workers {
            let run = worker::run(Arc::clone(&crew), number);
            parts.workers.push(self.guests.spawn(run));
        }
        let held = Arc::clone(&crew.held);
        parts
            .workers
            .push(tokio::spawn(async move { held.run().await }));
        parts.crews.push(Arc::clone(&crew));
        lines
            .into_iter()
            .map(|line| self.open(&crew, line, &mut parts))
            .collect()
    }

    fn open(&self, crew: &Arc<Crew>, line: Line, parts: &mut Parts) -> Subscription {
        let route = Arc::new(Route {
            spec: line.spec,
            broker: line.broker,
            policy: line.policy,
            patience: Patience::of(line.policy.capabilities.patience),
            order: line.order,
            on_dead_letter: line.on_dead_letter,
            redact: line.redact,
            destinations: line.destinations,
            replies: line.replies,
            dead_letters: line.dead_letters,
            inbox: line.inbox,
            window: Window::new(line.window.0, line.window.1),
            lanes: lane::Lanes::default(),
            ready: Arc::clone(&crew.ready),
            metrics: line.metrics,
            clock: self.clock,
            pause: tokio::sync::watch::Sender::new(Vec::new()),
        });
        let committer = Committer {
            route: Arc::clone(&route),
            settler: line.subscribed.settler,
            publishers: line.publishers,
            host_window: Arc::clone(&self.host_window),
        };
        let run = committer.run(self.ends.clone());
        parts
            .committers
            .push(tokio::spawn(guarded(Arc::clone(&route), run)));
        parts.intakes.push(tokio::spawn(intake::run(
            Arc::clone(&route),
            line.subscribed.source,
            Arc::clone(&self.host_window),
            self.stop.clone(),
        )));
        if let Some(patience) = route.patience {
            let (held, stop) = (Arc::clone(&crew.held), self.stop.clone());
            let sweep = sweep::run(Arc::clone(&route), held, patience, stop);
            parts.workers.push(tokio::spawn(sweep));
        }
        parts.routes.push(Arc::clone(&route));
        Subscription { route }
    }
}

/// A committer that panics must not leave silently: nothing of its subscription would ever be settled again.
async fn guarded(route: Arc<Route>, run: impl Future<Output = Flushed>) -> Flushed {
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_panic| {
        tracing::error!(plugin = %route.spec.plugin, subscription = %route.spec.name, "the committer panicked: nothing is settled until a restart");
        route.pause(Pause::Halted);
        Flushed {
            unsettled: route.inbox.outstanding(),
        }
    })
}

/// A running subscription, for views and commands.
#[derive(Clone)]
pub struct Subscription {
    route: Arc<Route>,
}

impl Subscription {
    /// Where it reads.
    pub fn spec(&self) -> &SubscriptionSpec {
        &self.route.spec
    }

    /// The broker it reads from.
    pub fn broker(&self) -> &str {
        &self.route.broker
    }

    /// Its counters.
    pub fn metrics(&self) -> &SubscriptionMetrics {
        &self.route.metrics
    }

    /// Why it reads nothing just now; empty while it reads.
    pub fn paused(&self) -> Vec<Pause> {
        self.route.pause.borrow().clone()
    }

    /// Messages in hand.
    pub fn in_hand(&self) -> usize {
        self.route.window.used().in_hand()
    }

    /// Stops reading until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.route.pause(Pause::Asked);
    }

    /// Reads again after [`pause`](Self::pause) or a halting dead letter. An outage or an open breaker ends by itself.
    pub fn resume(&self) {
        self.route
            .resume(|why| matches!(why, Pause::Asked | Pause::Halted));
        self.route.ready.extend(self.route.lanes.go_on());
    }
}
