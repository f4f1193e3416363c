//! Kafka, with a real server and plain clients.
//!
//! A server takes seconds and some 400 MB, so the scenarios that do nothing to it as a whole are played on one, beside
//! each other. The others have one of their own, two at a time at most.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use wharf::broker::kafka::KafkaBroker;
use wharf::config;
use wharf::message::Outgoing;
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, Capabilities};
use wharf_tests::count::Item;
use wharf_tests::kafka_server::KafkaServer;
use wharf_tests::ports::free_port;
use wharf_tests::proxy::Proxy;

use crate::subject::{Left, Subject};
use crate::table::{Headers, Nature};

mod client;

use client::Client;

/// The largest message that topics, and the clients of hosts, take.
const LARGEST: usize = 8 << 20;

/// Servers that are one scenario's own, beside the shared one.
static OWN: Semaphore = Semaphore::const_new(2);

pub(crate) struct Kafka {
    server: Arc<KafkaServer>,
    /// Where the server listens for those that come through a proxy, and where it tells them to come. Only where it is
    /// the scenario's own.
    behind: Option<(u16, u16)>,
    turn: Option<SemaphorePermit<'static>>,
    /// While it is up.
    client: Option<Client>,
}

impl Kafka {
    fn client(&self) -> &Client {
        self.client.as_ref().expect("a server that is up")
    }

    fn own(&mut self) -> &mut KafkaServer {
        Arc::get_mut(&mut self.server).expect("a server of the scenario's own")
    }
}

impl Subject for Kafka {
    type Elsewhere = Self;
    const COLUMN: &'static str = "Kafka topics";
    /// Longer than its session, and than `max.poll.interval.ms`.
    const SLOW: Duration = Duration::from_secs(4);
    /// Its session, and 5 s to share out its partitions and to handle what was in hand.
    const TAKEOVER: Duration = Duration::from_secs(7);
    /// It counts the owners of a partition that died, until it can tell the message they died of.
    const COUNTS_EACH_DELIVERY: bool = false;

    fn capabilities() -> Capabilities {
        let nowhere = config::kafka::Kafka::new("127.0.0.1:1");
        let broker = KafkaBroker::open_client("nowhere", &nowhere).expect("a good configuration");
        broker.capabilities(PlaceKind::Topic)
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
        // The server has a folder of its own. What it has answered is in the hands of the kernel, which outlives it.
        let mut server = KafkaServer::absent(&[]);
        let proxy = free_port();
        let behind = server.listen_behind(proxy);
        Self {
            server: Arc::new(server),
            behind: Some((behind, proxy)),
            turn: None,
            client: None,
        }
    }

    async fn shared() -> Option<Self> {
        let server = KafkaServer::shared().await;
        Some(Self {
            client: Some(Client::new(&server.bootstrap())),
            server,
            behind: None,
            turn: None,
        })
    }

    async fn up(&mut self) {
        if self.turn.is_none() {
            self.turn = Some(OWN.acquire().await.expect("turns"));
        }
        self.own().run().await;
        self.client = Some(Client::new(&self.server.bootstrap()));
    }

    fn down(&mut self) {
        self.client = None;
        self.own().kill();
    }

    fn port(&self) -> u16 {
        self.server.port()
    }

    async fn proxy(&self) -> Proxy {
        let (behind, proxy) = self.behind.expect("a server of the scenario's own");
        Proxy::start_at(proxy, behind).await
    }

    fn broker(&self, port: Option<u16>) -> String {
        let port = port.unwrap_or(self.server.port());
        // A session of 1 s would be the shortest the server allows, and shorter than this machine's worst moments.
        format!(
            "{{ type: kafka, bootstrap_servers: \"127.0.0.1:{port}\", session_timeout: 2s, delivery_timeout: 5s, \
             properties: {{ message.max.bytes: {LARGEST}, max.poll.interval.ms: 3000 }} }}"
        )
    }

    fn source(&self, place: &str) -> String {
        format!("topic: {place}")
    }

    fn destination(&self, place: &str) -> String {
        format!("topic: {place}")
    }

    async fn create(&self, place: &str) {
        self.client().create(place, LARGEST).await;
    }

    async fn spread(&self, place: &str, partitions: usize) {
        self.client().spread(place, partitions).await;
    }

    async fn publish(&self, to: &str, messages: &[Outgoing]) {
        self.client().publish(to, messages).await;
    }

    async fn items(&self, place: &str) -> Vec<Item> {
        self.client().items(place).await
    }

    async fn count(&self, place: &str) -> u64 {
        self.client().count(place).await
    }

    async fn left(&self, place: &str, group: &str) -> Left {
        self.client().left(place, group).await
    }

    async fn members(&self, group: &str) -> Option<BTreeSet<String>> {
        Some(self.client().members(group).await)
    }

    async fn delete(&self, place: &str) {
        self.client().delete(place).await;
    }

    async fn obstruct(&self, place: &str, on: bool) {
        if on {
            self.delete(place).await;
        } else {
            self.create(place).await;
        }
    }

    fn unpublishable() -> serde_json::Value {
        json!({ "size": LARGEST + (1 << 20) })
    }
}
