//! Asks the brokers, now and then, how much is before each subscription and whether they are there.

use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::Subscription;
use crate::host::Brokers;
use crate::ports::Health;
use crate::telemetry::Metrics;

/// How often. A lag gauge is read every 15 s at most by common scrapers.
const EVERY: Duration = Duration::from_secs(2);

/// Runs until aborted.
pub(super) async fn run(brokers: Brokers, subscriptions: Vec<Subscription>, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (name, broker) in &brokers {
            let ready = broker.health() == Health::Ready;
            metrics.broker(name, broker.system(), ready, broker.lost());
        }
        for subscription in &subscriptions {
            let Some(broker) = brokers.get(subscription.broker()) else {
                continue;
            };
            match broker.lag(subscription.spec()).await {
                Ok(lag) => {
                    let gauges = subscription.metrics();
                    gauges
                        .waiting
                        .set(i64::try_from(lag.waiting).unwrap_or(i64::MAX));
                    gauges
                        .pending
                        .set(i64::try_from(lag.pending).unwrap_or(i64::MAX));
                }
                Err(error) => {
                    tracing::debug!(subscription = %subscription.spec().name, %error, "no lag");
                }
            }
        }
    }
}
