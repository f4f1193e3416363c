//! Opens a subscription: one member of its group, with a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::client;
use super::context::Context;
use super::control::{Amount, Bounds, Control};
use super::member::{self, Shared};
use super::settler::KafkaSettler;
use super::source::{KafkaSource, Membership};
use super::wire::Reading;
use crate::config::kafka::Kafka;
use crate::delivery::Inbox;
use crate::ports::{BrokerError, Subscribed, SubscriptionSpec};

/// What may be repeated after a crash, per partition, and what waits to be handed out, of all partitions. The buffer is
/// the smaller one: it is full before the windows where handlers are slow, and fills again without a pause.
const BOUNDS: Bounds = Bounds {
    buffer: Amount {
        messages: 500,
        bytes: 16 << 20,
    },
    window: Amount {
        messages: 1000,
        bytes: 16 << 20,
    },
};

/// The name of a subscription's own second topic.
pub fn retry_topic(subscription: &str, plugin: &str) -> String {
    format!("retry.{subscription}.{plugin}")
}

/// An open subscription, and what ends with it.
pub(super) struct Opened {
    pub(super) subscribed: Subscribed,
    pub(super) shared: Arc<Shared>,
    /// Ends after source and settler, with the goodbye to the group.
    pub(super) thread: JoinHandle<()>,
}

/// Opens it. Does not wait for the servers.
pub(super) fn open(
    broker: &Arc<str>,
    kafka: &Kafka,
    spec: &SubscriptionSpec,
    inbox: Arc<Inbox>,
) -> Result<Opened, BrokerError> {
    let refused = |e: &dyn std::fmt::Display| BrokerError::Refused(format!("kafka: {e}"));
    let shared = Shared::new(
        Control::new(BOUNDS, spec.ordered),
        &spec.address,
        format!("{}/{}", spec.plugin, spec.name),
    );
    // A pattern, which may match nothing: a name would be an error until the first dead letter is redriven.
    let retry = format!(
        "^{}$",
        retry_topic(&spec.name, &spec.plugin).replace('.', "\\.")
    );
    let context = Context::new(Arc::clone(&shared), spec.from_start, retry.clone());
    let consumer: BaseConsumer<Context> = client::consumer(kafka, spec)
        .create_with_context(context)
        .map_err(|e| refused(&e))?;
    consumer
        .subscribe(&[&*spec.address, &retry])
        .map_err(|e| refused(&e))?;
    let (polled, stays) = (Arc::clone(&shared), kafka.instance_id.is_some());
    let thread = std::thread::Builder::new()
        .name(format!("kafka-{}", spec.name))
        .spawn(move || member::run(&consumer, &polled, stays))
        .map_err(|e| refused(&e))?;
    let member = Arc::new(Membership {
        shared: Arc::clone(&shared),
    });
    let reading = Reading {
        broker: Arc::clone(broker),
        subscription: Arc::clone(&spec.name),
        group: Arc::clone(&spec.group),
    };
    let subscribed = Subscribed {
        source: Box::new(KafkaSource {
            member: Arc::clone(&member),
            inbox,
            reading,
        }),
        settler: Box::new(KafkaSettler { member }),
    };
    Ok(Opened {
        subscribed,
        shared,
        thread,
    })
}
