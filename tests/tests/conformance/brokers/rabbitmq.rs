//! RabbitMQ, with a `rabbitmq-server`, a plain client and the server's own tools. Classic and quorum queues are subjects
//! of their own: what they count and what they survive is not the same.
//!
//! A server takes seconds, so the scenarios that do nothing to it as a whole are played on one, beside each other. The
//! others have one of their own, two at a time at most.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use wharf::broker::rabbitmq::RabbitBroker;
use wharf::config::rabbitmq::RabbitMq;
use wharf::message::{Header, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, Capabilities};
use wharf_tests::count::Item;
use wharf_tests::host::{PATIENCE, eventually};
use wharf_tests::rabbit_server::{RabbitServer, Shared};

use crate::subject::{Left, Subject};
use crate::table::{Headers, Nature};

/// Servers that are one scenario's own, beside the shared one.
static OWN: Semaphore = Semaphore::const_new(2);

/// A server, and of which kind all its queues are.
pub(crate) struct Rabbit<const QUORUM: bool> {
    server: Arc<RabbitServer>,
    turn: Option<SemaphorePermit<'static>>,
    /// While it is up.
    client: Option<(Connection, Channel)>,
    /// Queues with a single active consumer.
    ordered: BTreeSet<String>,
    /// How long it waits for a settlement, where it was told.
    patience: Option<Duration>,
}

pub(crate) type Classic = Rabbit<false>;
pub(crate) type Quorum = Rabbit<true>;

impl<const QUORUM: bool> Rabbit<QUORUM> {
    fn own(&mut self) -> &mut RabbitServer {
        Arc::get_mut(&mut self.server).expect("a server of the scenario's own")
    }

    const KIND: &str = if QUORUM { "quorum" } else { "classic" };

    fn connection(&self) -> &Connection {
        &self.client.as_ref().expect("a server that is up").0
    }

    async fn channel(&self) -> Channel {
        let channel = self.connection().create_channel().await;
        channel.expect("a channel")
    }
}

impl<const QUORUM: bool> Subject for Rabbit<QUORUM> {
    type Elsewhere = Self;
    const COLUMN: &'static str = if QUORUM {
        "RabbitMQ quorum queues"
    } else {
        "RabbitMQ classic queues"
    };
    /// Four heartbeats.
    const SLOW: Duration = Duration::from_secs(4);
    /// At once: the server is not to wait for two heartbeats.
    const TAKEOVER: Duration = Duration::from_secs(2);

    fn capabilities() -> Capabilities {
        let nowhere = RabbitMq::new("amqp://127.0.0.1:1");
        let broker = RabbitBroker::open("nowhere", &nowhere).expect("a good url");
        broker.capabilities(PlaceKind::Queue)
    }

    fn nature() -> Nature {
        Nature {
            server: true,
            shared: true,
            deletable: true,
            obstructable: true,
            makes_destinations: false,
            keeps: true,
            headers: Headers {
                repeat: true,
                any_bytes: true,
                nameless: true,
            },
        }
    }

    fn place(_folder: &Path) -> Self {
        Self {
            server: Arc::new(RabbitServer::absent(&[])),
            turn: None,
            client: None,
            ordered: BTreeSet::new(),
            patience: None,
        }
    }

    async fn shared() -> Option<Self> {
        // Queues of both kinds have the same names.
        static SHARED: [Shared; 2] = [const { Shared::const_new(Weak::new()) }; 2];
        let server = RabbitServer::shared_at(&SHARED[usize::from(QUORUM)]).await;
        Some(Self {
            client: Some(server.client().await),
            server,
            turn: None,
            ordered: BTreeSet::new(),
            patience: None,
        })
    }

    async fn up(&mut self) {
        if self.turn.is_none() {
            self.turn = Some(OWN.acquire().await.expect("turns"));
        }
        self.own().run().await;
        self.client = Some(self.server.client().await);
    }

    fn down(&mut self) {
        // Quorum queues that were made a moment ago, those in which messages wait among them, would not come back.
        if self.client.is_some() {
            self.server.flush_now();
        }
        self.client = None;
        self.own().kill();
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    fn broker(&self, port: Option<u16>) -> String {
        let url = RabbitServer::url_by(port.unwrap_or(self.server.port()));
        let kind = Self::KIND;
        let sac = |q: &String| format!("{q}: {{ kind: {kind}, single_active_consumer: true }}");
        let queues: Vec<String> = self.ordered.iter().map(sac).collect();
        let patience = self.patience.map_or(String::new(), |patience| {
            format!("consumer_timeout: {}ms, ", patience.as_millis())
        });
        format!(
            "{{ type: rabbitmq, url: \"{url}\", heartbeat: 1s, connect_timeout: 1s, {patience}queue_kind: {kind}, declare: {{ queues: {{ {} }} }} }}",
            queues.join(", ")
        )
    }

    fn source(&self, place: &str) -> String {
        format!("queue: {place}")
    }

    fn destination(&self, place: &str) -> String {
        format!("queue: {place}")
    }

    async fn create(&self, place: &str) {
        let sac = [("x-single-active-consumer", AMQPValue::Boolean(true))];
        let ordered = self.ordered.contains(place);
        let arguments: &[(&str, AMQPValue)] = if ordered { &sac } else { &[] };
        self.server.declare(place, Self::KIND, arguments).await;
    }

    async fn keep_order(&mut self, place: &str) {
        self.delete(place).await;
        self.ordered.insert(place.to_owned());
        self.create(place).await;
    }

    async fn lose_patience(&mut self, after: Duration) {
        self.patience = Some(after);
        self.server.lose_patience(after).await;
    }

    async fn publish(&self, to: &str, messages: &[Outgoing]) {
        // As clients do: a queue that is missing would take nothing.
        self.create(to).await;
        let channel = self.channel().await;
        let options = Default::default();
        channel.confirm_select(options).await.expect("confirms");
        for piece in messages.chunks(500) {
            let mut sent = Vec::new();
            for message in piece {
                let options = BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                };
                let (payload, properties) = (&message.payload, properties(message));
                let confirm =
                    channel.basic_publish("".into(), to.into(), options, payload, properties);
                sent.push(confirm.await.expect("published"));
            }
            for confirm in sent {
                assert_eq!(confirm.await.expect("confirmed"), Confirmation::Ack(None));
            }
        }
        channel.close(200, "".into()).await.expect("closed");
    }

    async fn items(&self, place: &str) -> Vec<Item> {
        let count = self.count(place).await;
        let channel = self.channel().await;
        // Unbounded is 2,000 to a quorum queue.
        let all = u16::try_from(count).expect("not that many");
        let qos = channel.basic_qos(all, BasicQosOptions::default()).await;
        qos.expect("a prefetch");
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(place.into(), "".into(), options, FieldTable::default())
            .await
            .expect("consuming");
        let items = consumer.take(count as usize).map(|delivery| {
            let delivery = delivery.expect("a message");
            item(&delivery.properties, &delivery.data)
        });
        let items = items.collect().await;
        // What is not acknowledged is there again, in its order, when the channel is gone.
        channel.close(200, "".into()).await.expect("closed");
        eventually("they are back", PATIENCE, async || {
            (self.count(place).await >= count).then_some(())
        })
        .await;
        items
    }

    async fn count(&self, place: &str) -> u64 {
        self.server.ready(self.connection(), place).await
    }

    async fn left(&self, place: &str, group: &str) -> Left {
        let depths = self.server.depths().await;
        let own = format!("retry.in.{group}");
        let mut left = Left::NOTHING;
        for (name, depth) in depths {
            if name == place || name == own {
                left.waiting += depth.ready;
                left.pending += depth.unacked;
            } else if name.strip_prefix(&own).is_some_and(|n| n.starts_with('.')) {
                left.records += depth.ready + depth.unacked;
            }
        }
        left
    }

    async fn delete(&self, place: &str) {
        let options = QueueDeleteOptions::default();
        let channel = self.channel().await;
        let deleted = channel.queue_delete(place.into(), options).await;
        deleted.expect("deleted");
    }

    async fn obstruct(&self, place: &str, on: bool) {
        // A queue that is missing.
        if on {
            self.delete(place).await;
        } else {
            self.create(place).await;
        }
    }

    fn unpublishable() -> serde_json::Value {
        json!({ "delay_ms": 1000 })
    }
}

/// Text where it is text, as clients in most languages write it.
fn value(bytes: &[u8]) -> AMQPValue {
    match std::str::from_utf8(bytes) {
        Ok(text) => AMQPValue::LongString(text.into()),
        Err(_) => AMQPValue::ByteArray(bytes.into()),
    }
}

fn properties(message: &Outgoing) -> BasicProperties {
    let mut table = FieldTable::default();
    if let Some(key) = &message.key {
        table.insert("wharf-key".into(), value(key));
    }
    let mut headers = message.headers.iter().peekable();
    while let Some(header) = headers.next() {
        let mut all = vec![value(&header.value)];
        while let Some(same) = headers.next_if(|next| next.name == header.name) {
            all.push(value(&same.value));
        }
        let name = ShortString::from(header.name.to_string());
        let value = match (all.len(), all.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                all.extend(last);
                AMQPValue::FieldArray(all.into())
            }
        };
        table.insert(name, value);
    }
    let id = message.id.as_deref().expect("an id");
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(id.into())
        .with_headers(table)
}

/// A message as any client sees it, by `docs/wire/rabbitmq.md`.
fn item(properties: &BasicProperties, payload: &[u8]) -> Item {
    let bytes = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Bytes::copy_from_slice(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => Bytes::copy_from_slice(bytes.as_slice()),
        other => panic!("a header of another type: {other:?}"),
    };
    let id = properties.message_id().as_ref();
    let mut item = Item {
        id: id.expect("an id").to_string(),
        key: None,
        headers: Vec::new(),
        payload: Bytes::copy_from_slice(payload),
    };
    let table = properties.headers().iter().flatten();
    for (name, value) in table {
        let mut header = |value: &AMQPValue| {
            item.headers.push(Header {
                name: name.to_string().into(),
                value: bytes(value),
            });
        };
        match (name.as_str(), value) {
            ("timestamp_in_ms" | "x-delivery-count", _) => {}
            ("wharf-key", key) => item.key = Some(bytes(key)),
            (_, AMQPValue::FieldArray(all)) => all.as_slice().iter().for_each(header),
            (_, value) => header(value),
        }
    }
    item
}
