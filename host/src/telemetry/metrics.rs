//! The metrics, under the names of the OpenTelemetry messaging conventions where they have one and `wharf_…` where
//! they do not (DESIGN §6).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::commit::{Cause, Destination};

/// Buckets the conventions advise for both of their histograms, in seconds, with three finer ones in front: a
/// handler here is done in microseconds.
const SECONDS: [f64; 17] = [
    0.00001, 0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

/// What names a subscription in every metric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SubscriptionLabels {
    /// Plugin name.
    pub plugin: String,
    /// Subscription name.
    pub subscription: String,
    /// `redis`, `wharf_embedded` …
    pub messaging_system: String,
    /// Topic or stream.
    pub messaging_destination_name: String,
    /// Group.
    pub messaging_consumer_group_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    plugin: String,
    subscription: String,
    cause: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcessLabels {
    #[prometheus(flatten)]
    of: SubscriptionLabels,
    /// Empty where the message was handled.
    error_type: String,
}

/// Who sent, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentLabels {
    plugin: String,
    subscription: String,
    /// That of the broker it was sent to.
    messaging_system: String,
    /// Empty for replies: they go to as many places as there are who ask.
    messaging_destination_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    plugin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SwapLabels {
    plugin: String,
    result: SwapResult,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, missing_docs)]
pub enum SwapResult {
    swapped,
    refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabels {
    broker: String,
    messaging_system: String,
}

type Families<L, M> = Family<L, M>;
type FloatCounter = Counter<f64, AtomicU64>;

/// Every family, and the registry they are shown from.
pub struct Metrics {
    registry: Mutex<Registry>,
    consumed: Families<SubscriptionLabels, Counter>,
    sent: Families<SentLabels, Counter>,
    released: Families<SubscriptionLabels, Counter>,
    fenced: Families<SubscriptionLabels, Counter>,
    in_flight: Families<SubscriptionLabels, Gauge>,
    held: Families<SubscriptionLabels, Gauge>,
    paused: Families<SubscriptionLabels, Gauge>,
    waiting: Families<SubscriptionLabels, Gauge>,
    pending: Families<SubscriptionLabels, Gauge>,
    breaker: Families<SubscriptionLabels, Gauge>,
    duration: Families<ProcessLabels, Histogram>,
    attempts: Families<ProcessLabels, Counter>,
    dead_letters: Families<CauseLabels, Counter>,
    instances: Families<PluginLabels, Gauge>,
    memory: Families<PluginLabels, Gauge>,
    cpu: Families<PluginLabels, FloatCounter>,
    log_dropped: Families<PluginLabels, Counter>,
    swaps: Families<SwapLabels, Counter>,
    ready: Families<BrokerLabels, Gauge>,
    lost: Families<BrokerLabels, Counter>,
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    /// All families, registered and empty.
    pub fn new() -> Arc<Self> {
        let mut r = Registry::default();
        macro_rules! family {
            ($name:literal, $help:literal) => {{
                let family = Family::default();
                r.register($name, $help, family.clone());
                family
            }};
        }
        let duration: Families<ProcessLabels, Histogram> =
            Family::new_with_constructor(histogram as fn() -> Histogram);
        r.register_with_unit(
            "messaging_process_duration",
            "Time one handler run took",
            Unit::Seconds,
            duration.clone(),
        );
        let cpu: Families<PluginLabels, FloatCounter> = Family::default();
        r.register(
            "wharf_guest_cpu_seconds",
            "Time guests of the plugin ran, in seconds",
            cpu.clone(),
        );
        Arc::new(Self {
            consumed: family!("messaging_client_consumed_messages", "Messages read"),
            sent: family!(
                "messaging_client_sent_messages",
                "Messages published, dead letters included, by where they went"
            ),
            released: family!("wharf_released", "Messages given back to the broker"),
            fenced: family!(
                "wharf_fenced",
                "Settlements refused because another owner has the message"
            ),
            in_flight: family!("wharf_in_flight", "Messages in hand"),
            held: family!(
                "wharf_held",
                "Messages waiting in the host for a retry or a destination"
            ),
            paused: family!(
                "wharf_paused",
                "1 while the subscription reads nothing: breaker open, destination down, asked for or halted"
            ),
            waiting: family!(
                "wharf_lag_messages",
                "Messages the broker has for the subscription, not yet delivered"
            ),
            pending: family!(
                "wharf_pending_messages",
                "Messages delivered and not settled, delayed ones included"
            ),
            breaker: family!("wharf_breaker_state", "0 closed, 1 half-open, 2 open"),
            attempts: family!("wharf_attempts", "Handler runs by how they ended"),
            dead_letters: family!("wharf_dead_letters", "Dead letters by cause"),
            instances: family!("wharf_instances", "Live sandboxes"),
            memory: family!(
                "wharf_guest_memory_bytes",
                "Linear memory of live sandboxes"
            ),
            log_dropped: family!(
                "wharf_guest_log_lines_dropped",
                "Guest log lines beyond the bound"
            ),
            swaps: family!(
                "wharf_swaps",
                "Versions taken up in place of another, or refused"
            ),
            ready: family!("wharf_broker_ready", "1 while the broker is connected"),
            lost: family!(
                "wharf_lost_messages",
                "Messages nobody will handle: dropped, given back where nothing is kept, or deleted while in hand"
            ),
            duration,
            cpu,
            registry: Mutex::new(r),
        })
    }

    /// Handles for one subscription that has no destinations of its own.
    pub fn subscription(&self, labels: &SubscriptionLabels) -> Arc<SubscriptionMetrics> {
        self.publishing(labels, &[])
    }

    /// Handles for one subscription, and where it publishes to, each with the system of its broker.
    pub fn publishing(
        &self,
        labels: &SubscriptionLabels,
        to: &[(Arc<Destination>, &str)],
    ) -> Arc<SubscriptionMetrics> {
        let process = |error_type: &str| {
            let labels = ProcessLabels {
                of: labels.clone(),
                error_type: error_type.to_owned(),
            };
            Run {
                error_type: error_type.to_owned(),
                duration: self.duration.get_or_create(&labels).clone(),
                attempts: self.attempts.get_or_create(&labels).clone(),
            }
        };
        let sent = |system: &str, name: &str| {
            self.sent.get_or_create_owned(&SentLabels {
                plugin: labels.plugin.clone(),
                subscription: labels.subscription.clone(),
                messaging_system: system.to_owned(),
                messaging_destination_name: name.to_owned(),
            })
        };
        Arc::new(SubscriptionMetrics {
            consumed: self.consumed.get_or_create(labels).clone(),
            sent: to
                .iter()
                .map(|(place, system)| (Arc::clone(place), sent(system, &place.address)))
                .collect(),
            // They go to the broker that the message came from.
            replies: sent(&labels.messaging_system, ""),
            released: self.released.get_or_create(labels).clone(),
            fenced: self.fenced.get_or_create(labels).clone(),
            in_flight: self.in_flight.get_or_create(labels).clone(),
            held: self.held.get_or_create(labels).clone(),
            paused: self.paused.get_or_create(labels).clone(),
            waiting: self.waiting.get_or_create(labels).clone(),
            pending: self.pending.get_or_create(labels).clone(),
            breaker: self.breaker.get_or_create(labels).clone(),
            done: process(""),
            runs: RUN_ERRORS.iter().map(|e| process(e)).collect(),
            dead_letters: Cause::ALL
                .iter()
                .map(|cause| {
                    let labels = CauseLabels {
                        plugin: labels.plugin.clone(),
                        subscription: labels.subscription.clone(),
                        cause: cause.as_str().to_owned(),
                    };
                    (*cause, self.dead_letters.get_or_create(&labels).clone())
                })
                .collect(),
        })
    }

    /// Handles for one plugin.
    pub fn plugin(&self, plugin: &str) -> Arc<PluginMetrics> {
        let labels = PluginLabels {
            plugin: plugin.to_owned(),
        };
        let swap = |result| {
            self.swaps
                .get_or_create(&SwapLabels {
                    plugin: plugin.to_owned(),
                    result,
                })
                .clone()
        };
        Arc::new(PluginMetrics {
            instances: self.instances.get_or_create(&labels).clone(),
            memory: self.memory.get_or_create(&labels).clone(),
            cpu: self.cpu.get_or_create(&labels).clone(),
            log_dropped: self.log_dropped.get_or_create(&labels).clone(),
            swapped: swap(SwapResult::swapped),
            swaps_refused: swap(SwapResult::refused),
        })
    }

    /// Shows whether a broker is connected, and how many messages of it were lost so far.
    pub fn broker(&self, broker: &str, system: &str, ready: bool, lost: u64) {
        let labels = BrokerLabels {
            broker: broker.to_owned(),
            messaging_system: system.to_owned(),
        };
        self.ready.get_or_create(&labels).set(i64::from(ready));
        let shown = self.lost.get_or_create(&labels);
        shown.inc_by(lost.saturating_sub(shown.get()));
    }

    /// Everything as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ok = encode(&mut text, &self.registry.lock()).is_ok();
        text
    }
}

/// The ways a run can end badly, as `error_type`.
const RUN_ERRORS: [&str; 9] = [
    "retry",
    "rejected",
    "unavailable",
    "trap",
    "deadline",
    "memory",
    "bad-output",
    "denied",
    "not-run",
];

struct Run {
    error_type: String,
    duration: Histogram,
    attempts: Counter,
}

/// Handles for one subscription.
#[allow(missing_docs)] // each is described where it is registered
pub struct SubscriptionMetrics {
    pub consumed: Counter,
    pub released: Counter,
    pub fenced: Counter,
    pub in_flight: Gauge<i64, AtomicI64>,
    pub held: Gauge<i64, AtomicI64>,
    pub paused: Gauge<i64, AtomicI64>,
    pub waiting: Gauge<i64, AtomicI64>,
    pub pending: Gauge<i64, AtomicI64>,
    pub breaker: Gauge<i64, AtomicI64>,
    sent: Vec<(Arc<Destination>, Counter)>,
    replies: Counter,
    done: Run,
    runs: Vec<Run>,
    dead_letters: Vec<(Cause, Counter)>,
}

impl SubscriptionMetrics {
    /// Counts one handler run. `error_type` is empty where the message was handled.
    pub fn ran(&self, error_type: &str, took: Duration) {
        let run = if error_type.is_empty() {
            &self.done
        } else {
            match self.runs.iter().find(|r| r.error_type == error_type) {
                Some(run) => run,
                None => return,
            }
        };
        run.attempts.inc();
        run.duration.observe(took.as_secs_f64());
    }

    /// Counts runs that ended with the message handled, and how long each took.
    pub fn ran_well(&self, took: &[Duration]) {
        self.done.attempts.inc_by(took.len() as u64);
        for took in took {
            self.done.duration.observe(took.as_secs_f64());
        }
    }

    /// Counts one message that was published there: under the configured name, also where the message chose its own topic.
    pub fn sent(&self, to: &Arc<Destination>) {
        let known = self.sent.iter().find(|(place, _)| Arc::ptr_eq(place, to));
        known.map_or(&self.replies, |(_, counter)| counter).inc();
    }

    /// Runs that ended well, so far.
    #[cfg(test)]
    pub(crate) fn handled(&self) -> u64 {
        self.done.attempts.get()
    }

    /// Counts one dead letter.
    pub fn dead_letter(&self, cause: Cause) {
        if let Some((_, counter)) = self.dead_letters.iter().find(|(c, _)| *c == cause) {
            counter.inc();
        }
    }
}

/// Handles for one plugin.
#[allow(missing_docs)] // each is described where it is registered
pub struct PluginMetrics {
    pub instances: Gauge<i64, AtomicI64>,
    pub memory: Gauge<i64, AtomicI64>,
    pub cpu: FloatCounter,
    pub log_dropped: Counter,
    pub swapped: Counter,
    pub swaps_refused: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_as_what_is_read() {
        let metrics = Metrics::new();
        let labels = SubscriptionLabels {
            messaging_system: "redis".into(),
            messaging_destination_name: "orders".into(),
            messaging_consumer_group_name: "g".into(),
            ..SubscriptionLabels::default()
        };
        let counters = metrics.subscription(&labels);
        counters.ran("trap", Duration::from_millis(1));
        let line = "messaging_process_duration_seconds_count{plugin=\"\",subscription=\"\",messaging_system=\"redis\",\
                    messaging_destination_name=\"orders\",messaging_consumer_group_name=\"g\",error_type=\"trap\"} 1\n";
        let text = metrics.encode();
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_is_lost_is_shown_as_the_broker_counts_it() {
        let metrics = Metrics::new();
        for lost in [3, 3, 5] {
            metrics.broker("b", "nats", true, lost);
        }
        let line = "wharf_lost_messages_total{broker=\"b\",messaging_system=\"nats\"} 5\n";
        assert!(metrics.encode().contains(line), "{}", metrics.encode());
    }
}
