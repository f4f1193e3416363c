//! A broker opened for a command: to publish to it, look into it and move what is there, never to consume.
//!
//! A running host may have it open at the same time, and keeps consuming meanwhile.

use std::sync::Arc;

use super::config::broker;
use super::dlq::Letters;
#[cfg(feature = "rabbitmq")]
use super::dlq::RabbitLetters;
#[cfg(feature = "redis")]
use super::dlq::RedisLetters;
use super::failure::{Failure, Result};
use super::tail::Following;
use crate::broker::embedded::Embedded;
#[cfg(feature = "kafka")]
use crate::broker::kafka::KafkaBroker;
#[cfg(feature = "nats")]
use crate::broker::nats::NatsBroker;
#[cfg(feature = "rabbitmq")]
use crate::broker::rabbitmq::RabbitBroker;
#[cfg(feature = "redis")]
use crate::broker::redis::{Options, RedisBroker};
use crate::config::{self, Config};
use crate::ports::{Broker, PayloadFrom, Publisher};

/// An open broker. One variant per kind; a new kind implements [`Letters`] and [`Following`].
pub(super) enum Client {
    /// One SQLite file.
    Embedded(Embedded),
    /// A Redis server.
    #[cfg(feature = "redis")]
    Redis(Box<RedisLetters>),
    /// A Kafka cluster.
    #[cfg(feature = "kafka")]
    Kafka(Box<KafkaBroker>),
    /// A RabbitMQ server.
    #[cfg(feature = "rabbitmq")]
    RabbitMq(Box<RabbitLetters>),
    /// A NATS server.
    #[cfg(feature = "nats")]
    Nats(Box<NatsBroker>),
}

impl Client {
    /// Opens the broker of that name. Must be called within a runtime.
    pub(super) fn open(config: &Config, name: &str) -> Result<Self> {
        let at = |failure: Failure| failure.at(format_args!("broker `{name}`"));
        match broker(config, name)? {
            config::Broker::Embedded(options) => Embedded::open_client(name, options)
                .map(Self::Embedded)
                .map_err(|error| at(error.into())),
            #[cfg(feature = "redis")]
            config::Broker::Redis(redis) => RedisBroker::open(Options::of(name, redis))
                .map(|broker| Self::Redis(Box::new(RedisLetters::new(config, broker))))
                .map_err(|error| at(error.into())),
            #[cfg(feature = "kafka")]
            config::Broker::Kafka(kafka) => KafkaBroker::open_client(name, kafka)
                .map(|broker| Self::Kafka(Box::new(broker)))
                .map_err(|error| at(error.into())),
            #[cfg(feature = "rabbitmq")]
            config::Broker::RabbitMq(rabbitmq) => RabbitBroker::open_client(name, rabbitmq)
                .map(|broker| Self::RabbitMq(Box::new(RabbitLetters::new(broker))))
                .map_err(|error| at(error.into())),
            #[cfg(feature = "nats")]
            config::Broker::Nats(nats) => NatsBroker::open_client(name, nats)
                .map(|broker| Self::Nats(Box::new(broker)))
                .map_err(|error| at(error.into())),
            #[allow(unreachable_patterns, reason = "only where a kind was not compiled in")]
            other => Err(at(Failure::new(format!(
                "this build of wharf has no `{}`",
                other.kind()
            )))),
        }
    }

    fn broker(&self) -> &dyn Broker {
        match self {
            Self::Embedded(embedded) => embedded,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => &redis.broker,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => &**kafka,
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(rabbitmq) => &rabbitmq.broker,
            #[cfg(feature = "nats")]
            Self::Nats(nats) => &**nats,
        }
    }

    /// Dead letters in it.
    pub(super) fn letters(&self) -> &dyn Letters {
        match self {
            Self::Embedded(embedded) => embedded,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => &**redis,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => &**kafka,
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(rabbitmq) => &**rabbitmq,
            #[cfg(feature = "nats")]
            Self::Nats(nats) => &**nats,
        }
    }

    /// What arrives in `topic`. `payload` says which field it is in, on brokers whose records are fields.
    #[cfg_attr(
        not(feature = "redis"),
        allow(unused_variables, reason = "the embedded broker has no fields")
    )]
    pub(super) fn following(&self, topic: &str, payload: &PayloadFrom) -> Box<dyn Following + '_> {
        match self {
            Self::Embedded(embedded) => Box::new(super::tail::EmbeddedTail::new(embedded, topic)),
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Box::new(super::tail::RedisTail::new(
                &redis.broker,
                topic,
                payload.clone(),
            )),
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => Box::new(super::tail::KafkaTail::new(kafka, topic)),
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(_) => Box::new(super::tail::RabbitTail::new(topic)),
            #[cfg(feature = "nats")]
            Self::Nats(nats) => Box::new(super::tail::NatsTail::new(nats, topic)),
        }
    }

    /// Publishes to it.
    pub(super) fn publisher(&self) -> Arc<dyn Publisher> {
        self.broker().publisher()
    }

    /// Makes a place of a subscription's own, where the first message would not.
    #[cfg_attr(
        not(any(feature = "nats", feature = "rabbitmq")),
        allow(
            unused_variables,
            clippy::unused_async,
            reason = "the first message makes it"
        )
    )]
    pub(super) async fn make(&self, place: &str) -> Result<()> {
        match self {
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(rabbitmq) => Ok(rabbitmq.broker.make(place).await?),
            #[cfg(feature = "nats")]
            Self::Nats(nats) => Ok(nats.make(place).await?),
            _ => Ok(()),
        }
    }

    /// Waits for what was begun, and closes.
    pub(super) async fn close(self) {
        #[cfg(feature = "rabbitmq")]
        if let Self::RabbitMq(rabbitmq) = &self {
            return rabbitmq.close().await;
        }
        self.broker().close().await;
    }
}
