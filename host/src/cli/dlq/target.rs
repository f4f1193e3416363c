//! Where the dead letters of a subscription lie, and where they go when they are sent back.

use crate::broker::embedded::retry_topic;
#[cfg(feature = "redis")]
use crate::broker::redis::retry_stream_in_cluster;
use crate::cli::config::{Named, subscription};
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::config::{Broker, Config, DeadLetterTarget, Subscription};
use crate::place::PlaceKind;

/// The dead letters of one subscription.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) plugin: String,
    pub(super) subscription: String,
    /// Where they lie.
    pub(super) at: DeadLetterTarget,
    /// The broker they came from, which is where they are handled again.
    pub(super) home: String,
    /// What the place is from which they come back there.
    pub(super) kind: PlaceKind,
    /// Whether what is sent back there would be lost, since the subscription has no second source.
    pub(super) unkept: bool,
    /// Its name.
    retry: String,
    /// Whether other subscriptions put their dead letters to the same place.
    shared: bool,
}

impl Target {
    /// All of a configuration, by plugin and subscription.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let mut targets: Vec<Self> = Vec::new();
        for (plugin, settings) in &config.plugins {
            for (subscription, source) in &settings.subscribe {
                let at = settings.dead_letter_target(plugin, subscription);
                let home = config.brokers.get(&source.broker);
                let Some((at, home)) = at.zip(home) else {
                    continue;
                };
                let retry = retry_of(home, plugin, subscription, source);
                targets.push(Self {
                    plugin: plugin.clone(),
                    subscription: subscription.clone(),
                    at,
                    home: source.broker.clone(),
                    kind: home
                        .places()
                        .retry(source.place().map_or(home.places().own, |(kind, _)| kind)),
                    unkept: source
                        .place()
                        .is_some_and(|(kind, _)| kind == PlaceKind::Subject),
                    retry,
                    shared: false,
                });
            }
        }
        let places: Vec<DeadLetterTarget> =
            targets.iter().map(|target| target.at.clone()).collect();
        for target in &mut targets {
            target.shared = places.iter().filter(|at| **at == target.at).count() > 1;
        }
        targets
    }

    /// That of `<plugin>/<subscription>`.
    pub(super) fn find(config: &Config, text: &str) -> Result<Self> {
        let Named {
            plugin,
            subscription,
            ..
        } = subscription(config, text)?;
        Self::all(config)
            .into_iter()
            .find(|target| target.plugin == plugin && target.subscription == subscription)
            .ok_or_else(|| Failure::usage(format!("`{text}` has no place for dead letters")))
    }

    /// `plugin/subscription`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.plugin, self.subscription)
    }

    /// The topic or stream the subscription reads besides its own.
    pub(super) fn retry(&self) -> String {
        self.retry.clone()
    }

    /// Whether a message of that place is a dead letter of this subscription.
    pub(super) fn owns(&self, record: &Record) -> bool {
        let is = |name: &str, wanted: &str| record.header(name).is_some_and(|v| v == wanted);
        !self.shared
            || (is("wharf-plugin", &self.plugin) && is("wharf-subscription", &self.subscription))
    }
}

/// The topic or stream a subscription reads besides its own.
#[cfg_attr(
    not(feature = "redis"),
    allow(unused_variables, reason = "it is called the same everywhere else")
)]
fn retry_of(home: &Broker, plugin: &str, subscription: &str, source: &Subscription) -> String {
    #[cfg(feature = "redis")]
    if let (Broker::Redis(redis), Some((_, stream))) = (home, source.place())
        && redis.cluster
    {
        return retry_stream_in_cluster(stream, subscription, plugin);
    }
    retry_topic(subscription, plugin)
}
