//! From the configuration to running subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::commit::Destination;
use crate::config::{self, Config, PayloadField, Start};
use crate::delivery::Inbox;
use crate::dispatch::attempt::Policy;
use crate::dispatch::retry::Schedule;
use crate::dispatch::{Dispatcher, Line, PluginLine, Subscription, breaker};
use crate::host::{Brokers, Error, settings};
use crate::place::PlaceKind;
use crate::plugin::Catalog;
use crate::ports::{Broker, Capabilities, PayloadFrom, Publisher, SubscriptionSpec};
use crate::telemetry::{Metrics, SubscriptionLabels, SubscriptionMetrics};

/// Most messages one fetch brings. Large enough to amortise a round trip, small enough to be spread over instances.
const PREFETCH: usize = 256;

/// Opens and starts every subscription of every plugin.
pub(super) async fn start(
    config: &Config,
    brokers: &Brokers,
    catalog: &Arc<Catalog>,
    dispatcher: &Dispatcher,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Subscription>, Error> {
    let mut running = Vec::new();
    let workers = settings::workers(config);
    // All lines are opened before the first one reads: one that cannot be opened stops the start.
    let mut plugins = Vec::new();
    for (name, plugin) in &config.plugins {
        let Some(handler) = catalog.get(name) else {
            continue;
        };
        let mut lines = Vec::new();
        for (subscription, source) in &plugin.subscribe {
            let error = |reason: String| Error::Subscription {
                plugin: name.clone(),
                subscription: subscription.clone(),
                reason,
            };
            let line = Opening {
                config,
                brokers,
                metrics,
                name,
                plugin,
                subscription,
                source,
            };
            lines.push(line.open().await.map_err(error)?);
        }
        let line = PluginLine {
            handler,
            workers: settings::instances(plugin, workers) as usize,
            breaker: plugin.breaker.as_ref().map(breaker_settings),
        };
        plugins.push((line, lines));
    }
    for (plugin, lines) in plugins {
        running.extend(dispatcher.start(plugin, lines));
    }
    Ok(running)
}

/// One subscription being opened.
struct Opening<'a> {
    config: &'a Config,
    brokers: &'a Brokers,
    metrics: &'a Arc<Metrics>,
    name: &'a str,
    plugin: &'a config::Plugin,
    subscription: &'a str,
    source: &'a config::Subscription,
}

impl Opening<'_> {
    async fn open(&self) -> Result<Line, String> {
        let broker = self.broker(&self.source.broker)?;
        let spec = self.spec()?;
        self.warn_of_loss(broker.capabilities(spec.kind), &spec);
        let inbox = match self.plugin.order {
            config::Order::None => Inbox::unordered(),
            config::Order::Key | config::Order::Source => Inbox::new(),
        };
        let subscribed = broker.subscribe(spec.clone(), Arc::clone(&inbox)).await;
        let subscribed = subscribed.map_err(|e| e.to_string())?;
        let destinations = self.destinations()?;
        let dead_letters = self.dead_letters()?;
        let publishers = self.publishers(destinations.values().chain([&dead_letters]))?;
        let labels = self.labels(broker.as_ref(), &spec);
        let metrics = self.counters(&labels, destinations.values().chain([&dead_letters]))?;
        Ok(Line {
            broker: self.source.broker.as_str().into(),
            policy: self.policy(broker.as_ref())?,
            order: self.plugin.order,
            on_dead_letter: self.plugin.on_dead_letter,
            redact: self.plugin.redact.clone(),
            destinations,
            replies: self.replies(),
            dead_letters,
            publishers,
            window: (
                self.plugin.concurrency as usize,
                self.plugin.concurrency_bytes.as_usize(),
            ),
            metrics,
            spec,
            inbox,
            subscribed,
        })
    }

    fn broker(&self, name: &str) -> Result<&Arc<dyn Broker>, String> {
        self.brokers
            .get(name)
            .ok_or_else(|| format!("broker `{name}` is not configured"))
    }

    fn kind(&self) -> Result<PlaceKind, String> {
        let place = self.source.place().ok_or("nothing is named to read from")?;
        Ok(place.0)
    }

    /// What the host makes for itself at a broker.
    fn own(&self, broker: &str) -> Result<PlaceKind, String> {
        let broker = self.config.brokers.get(broker);
        Ok(broker.ok_or("no such broker")?.places().own)
    }

    /// What a reply goes to, where replies are granted.
    fn replies(&self) -> Option<PlaceKind> {
        let own = self.own(&self.source.broker).ok()?;
        self.plugin.grants.reply.then_some(own)
    }

    fn spec(&self) -> Result<SubscriptionSpec, String> {
        let concurrency = self.plugin.concurrency as usize;
        let filters = self.source.filter.as_deref().unwrap_or_default();
        Ok(SubscriptionSpec {
            name: self.subscription.into(),
            plugin: self.name.into(),
            kind: self.kind()?,
            address: self.source.source().into(),
            group: self.source.group(self.name).into(),
            from_start: self.source.start == Start::Earliest,
            payload: match self.source.payload.clone().unwrap_or_default() {
                PayloadField::Field(name) => PayloadFrom::Field(name.into()),
                PayloadField::Entry => PayloadFrom::Entry,
            },
            ordered: self.plugin.order != config::Order::None,
            filters: filters.iter().map(|one| one.as_str().into()).collect(),
            prefetch: self.prefetch().min(concurrency),
        })
    }

    /// Most messages one fetch brings, where the broker's configuration does not say.
    fn prefetch(&self) -> usize {
        match self.config.brokers.get(&self.source.broker) {
            #[cfg(feature = "redis")]
            Some(config::Broker::Redis(redis)) => redis.prefetch as usize,
            #[cfg(feature = "kafka")]
            Some(config::Broker::Kafka(_)) => PREFETCH,
            #[cfg(feature = "rabbitmq")]
            Some(config::Broker::RabbitMq(_)) => PREFETCH,
            #[cfg(feature = "nats")]
            Some(config::Broker::Nats(_)) => PREFETCH,
            Some(config::Broker::Embedded(_)) | None => PREFETCH,
        }
    }

    /// What is at most once by nature is said at every start: nobody should learn it from a loss.
    fn warn_of_loss(&self, capabilities: Capabilities, spec: &SubscriptionSpec) {
        if !capabilities.redelivers {
            tracing::warn!(
                plugin = self.name,
                subscription = self.subscription,
                broker = self.source.broker,
                kind = spec.kind.key(),
                address = &*spec.address,
                "messages of this subscription are handled at most once: the broker does not keep them, so those \
                 published while no host listens, and those in hand when a host dies, are lost"
            );
        }
    }

    fn policy(&self, broker: &dyn Broker) -> Result<Policy, String> {
        let retry = &self.plugin.retry;
        let schedule = Schedule::new(
            retry.max_retries,
            retry.initial_interval,
            retry.multiplier,
            retry.max_interval,
            retry.randomization_factor,
        );
        Ok(Policy {
            schedule: schedule.map_err(|e| format!("retry: {e}"))?,
            max_deliveries: self.plugin.max_deliveries,
            ordered: self.plugin.order != config::Order::None,
            capabilities: broker.capabilities(self.kind()?),
        })
    }

    fn destinations(&self) -> Result<HashMap<String, Arc<Destination>>, String> {
        let resolved = self.plugin.publish.iter().map(|(name, d)| {
            let place = d
                .place()
                .ok_or_else(|| format!("`{name}` names no place"))?;
            let (kind, address) = place;
            let destination = Destination {
                routing_key: d.routing_key.as_deref().map(Arc::from),
                core: d.core,
                max_len: d.max_len,
                max_age: d.max_age,
                payload_field: d.payload.as_deref().map(Arc::from),
                ..Destination::new(name.as_str(), d.broker.as_str(), kind, address)
            };
            Ok((name.clone(), Arc::new(destination)))
        });
        resolved.collect()
    }

    fn dead_letters(&self) -> Result<Arc<Destination>, String> {
        let target = self.plugin.dead_letter_target(self.name, self.subscription);
        let target = target.ok_or("no place for dead letters")?;
        let broker = self.config.brokers.get(&target.broker);
        let kind = broker.ok_or("no such broker")?.places();
        let kind = kind.dead_letter(target.named);
        let place = Destination::new("dead-letters", target.broker, kind, target.name);
        self.broker(&place.broker)?.keep_dead_letters(&place);
        Ok(Arc::new(place))
    }

    fn publishers<'d>(
        &self,
        destinations: impl Iterator<Item = &'d Arc<Destination>>,
    ) -> Result<HashMap<Arc<str>, Arc<dyn Publisher>>, String> {
        // Replies go to the broker the message came from.
        let source = Arc::from(self.source.broker.as_str());
        let replies = self.plugin.grants.reply.then_some(&source);
        let mut publishers = HashMap::new();
        for name in destinations.map(|d| &d.broker).chain(replies) {
            let broker = self.broker(name)?;
            publishers
                .entry(Arc::clone(name))
                .or_insert_with(|| broker.publisher());
        }
        Ok(publishers)
    }

    /// What is sent is counted under the place it goes to, so each has to be known beforehand.
    fn counters<'d>(
        &self,
        labels: &SubscriptionLabels,
        destinations: impl Iterator<Item = &'d Arc<Destination>>,
    ) -> Result<Arc<SubscriptionMetrics>, String> {
        let mut places = Vec::new();
        for place in destinations {
            places.push((Arc::clone(place), self.broker(&place.broker)?.system()));
        }
        Ok(self.metrics.publishing(labels, &places))
    }

    fn labels(&self, broker: &dyn Broker, spec: &SubscriptionSpec) -> SubscriptionLabels {
        SubscriptionLabels {
            plugin: self.name.to_owned(),
            subscription: self.subscription.to_owned(),
            messaging_system: broker.system().to_owned(),
            messaging_destination_name: spec.address.to_string(),
            messaging_consumer_group_name: spec.group.to_string(),
        }
    }
}

fn breaker_settings(breaker: &config::Breaker) -> breaker::Settings {
    breaker::Settings {
        consecutive_failures: breaker.consecutive_failures,
        recovery_timeout: breaker.recovery_timeout,
        window: breaker.window,
        failure_ratio: breaker.failure_ratio,
        min_calls: breaker.min_calls,
    }
}
