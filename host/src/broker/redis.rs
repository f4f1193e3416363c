//! Redis: streams, lists, sorted sets and channels.
//!
//! Lists and sorted sets are in [`queue`], channels in [`channel`]; what follows is about streams. A subscription is a consumer group; every host process is a consumer of its own, under a name no other process ever
//! has. The way of a message: [`reader`] (or [`recovery`], where it was read before) → [`source`] → dispatch →
//! [`settler`]. Who owns what is decided at the server, by scripts ([`script`]); [`ledger`] is our own view of it and
//! [`lease`] keeps us alive in the eyes of others.
//!
//! What will surprise you:
//! - A released message stays in the pending list of its host. Its attempts and due time are in a hash beside the
//!   stream, so both survive a restart and a takeover.
//! - The delivery counter of the server is raised by crashes only: by one when an entry that was in hand is taken over
//!   from a host that died. Retries, reconnects and orderly stops leave it alone.
//! - Trimming a stream (`MAXLEN`) deletes entries that are still pending. Those are acknowledged, counted
//!   ([`RedisBroker::trimmed`]) and logged; nothing else can be done for them.
//! - In a cluster everything of a subscription lies in the slot of its place. An output to another slot is published
//!   before its message is settled, not in one step with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::redis::Tls;
use crate::config::{self, Secret};
use crate::delivery::Inbox;
use crate::place::PlaceKind;
use crate::ports::{
    Broker, BrokerError, Capabilities, Health, Lag, Ordering, Publisher, Subscribed,
    SubscriptionSpec,
};

mod browse;
mod channel;
mod connection;
mod durability;
mod entry;
mod envelope;
mod keys;
mod lag;
mod lease;
mod ledger;
mod look;
mod output;
mod publisher;
mod queue;
mod reader;
mod recovery;
mod script;
mod settler;
mod sizes;
mod source;
mod subscription;
mod wire;

pub use browse::Tail;
pub use subscription::{retry_stream, retry_stream_in_cluster};

use connection::{Backoff, Endpoint, Link, Part, Troubles};
use reader::Reader;
use recovery::Recovery;
use script::Scripts;
use settler::RedisSettler;
use source::RedisSource;
use subscription::Subscription;

/// How often a connection that nobody uses is asked whether it still works.
const PROBE: Duration = Duration::from_secs(1);

/// What a broker is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// `redis://[user[:password]@]host[:port][/db]`, `rediss://…` for TLS, or `redis+unix:///path`.
    pub url: String,
    /// What else is needed to reach the server.
    pub access: Access,
    /// Goes into consumer names, for people. Need not be unique.
    pub host: String,
    /// Time to live of the host lease: after a crash others take over this much later, and a quarter. At least 100 ms.
    pub lease: Duration,
    /// Claim entries of consumers that are not ours (another client in the same group) when idle for this long. `None`:
    /// never.
    pub foreign_idle: Option<Duration>,
    /// Most time to connect.
    pub connect: Duration,
    /// Most time to wait for an answer.
    pub answer: Duration,
    /// Most time one read waits at the server, at most 1 s.
    pub block: Duration,
    /// Least and most time between two tries to connect.
    pub backoff: (Duration, Duration),
}

impl Options {
    /// The defaults.
    pub fn new(name: impl Into<Arc<str>>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            access: Access::default(),
            host: host_name(),
            lease: Duration::from_secs(5),
            foreign_idle: None,
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(5),
            block: Duration::from_secs(1),
            backoff: (Duration::from_millis(100), Duration::from_secs(5)),
        }
    }

    /// As the configuration says.
    #[must_use]
    pub fn of(name: impl Into<Arc<str>>, redis: &config::Redis) -> Self {
        let mut options = Self::new(name, redis.url.expose());
        options.access = Access {
            user: redis.user.clone(),
            password: redis.password.clone(),
            tls: redis.tls.clone(),
            sentinels: redis
                .sentinels
                .iter()
                .map(|sentinel| redis.sentinel_url(sentinel))
                .collect(),
            master: redis.master.clone(),
            sentinel_user: redis.sentinel_user.clone(),
            sentinel_password: redis.sentinel_password.clone(),
            wait_replicas: redis.wait_replicas,
            cluster: redis.cluster,
        };
        options.lease = redis.lease;
        options.foreign_idle = redis.foreign_idle;
        options.connect = redis.connect_timeout;
        if let Some(host) = &redis.name {
            options.host.clone_from(host);
        }
        options
    }
}

/// What is needed to reach a server beside its URL.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The user, where it is not in the URL.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Certificates, with `rediss://`.
    pub tls: Tls,
    /// URLs of the sentinels that know where the server is. The URL's host and port are not used then.
    pub sentinels: Vec<String>,
    /// What they call it.
    pub master: Option<String>,
    /// The user there.
    pub sentinel_user: Option<String>,
    /// Its password.
    pub sentinel_password: Option<Secret>,
    /// How many replicas must have an output before it counts as confirmed, where it is not one step with a settlement.
    pub wait_replicas: Option<u32>,
    /// Whether the URL (or several, with commas between them) is that of nodes of a cluster.
    pub cluster: bool,
}

/// The machine's name, or `host`.
fn host_name() -> String {
    let name = rustix::system::uname();
    match name.nodename().to_str() {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => "host".to_owned(),
    }
}

/// What is counted. Only ever up, read by whoever shows it.
#[derive(Debug, Default)]
struct Counters {
    /// Entries trimmed or deleted while pending.
    trimmed: AtomicU64,
    /// Messages of channels that nobody will handle.
    lost: Arc<AtomicU64>,
}

/// A named connection to a Redis server.
pub struct RedisBroker {
    options: Arc<Options>,
    endpoint: Endpoint,
    troubles: Arc<Troubles>,
    data: Arc<Link>,
    control: Arc<Link>,
    scripts: Arc<Scripts>,
    counters: Arc<Counters>,
    /// Ends everything.
    closing: CancellationToken,
    /// The tasks that have something to say before they end: leases.
    leases: TaskTracker,
    /// Ends the probe when the broker is dropped.
    _probe: tokio_util::sync::DropGuard,
}

impl RedisBroker {
    /// Opens the broker. Connects in the background: an absent server is waited for. To be called within a runtime.
    pub fn open(options: Options) -> Result<Self, BrokerError> {
        let options = Options {
            lease: options.lease.max(Duration::from_millis(100)),
            block: options
                .block
                .clamp(Duration::from_millis(1), Duration::from_secs(1)),
            ..options
        };
        let endpoint = Endpoint::new(&options)?;
        let troubles = Arc::new(Troubles::default());
        let first = troubles.part();
        first.trouble("redis: not connected yet");
        let data = Arc::new(Link::new(endpoint.clone(), troubles.part()));
        let control = Arc::new(Link::new(endpoint.clone(), troubles.part()));
        let closing = CancellationToken::new();
        let probing = closing.child_token();
        tokio::spawn(probing.clone().run_until_cancelled_owned(probe(
            Arc::clone(&data),
            first,
            Backoff::new(options.backoff.0, options.backoff.1),
        )));
        Ok(Self {
            options: Arc::new(options),
            endpoint,
            troubles,
            data,
            control,
            scripts: Arc::new(Scripts::new()),
            counters: Arc::default(),
            closing,
            leases: TaskTracker::new(),
            _probe: probing.drop_guard(),
        })
    }

    /// Entries that were trimmed or deleted while they were pending, since the broker was opened.
    pub fn trimmed(&self) -> u64 {
        self.counters.trimmed.load(Atomic::Relaxed)
    }

    /// Messages of channels that nobody will handle, since the broker was opened: they came faster than they were handled,
    /// or were given back.
    pub fn unheard(&self) -> u64 {
        self.counters.lost.load(Atomic::Relaxed)
    }

    fn start(&self, spec: &SubscriptionSpec, inbox: Arc<Inbox>) -> Subscribed {
        let sub = Arc::new(Subscription::new(
            Arc::clone(&self.options),
            spec,
            Arc::clone(&self.scripts),
            Arc::clone(&self.data),
            Arc::clone(&self.control),
            Arc::clone(&self.counters),
        ));
        let living = self.closing.child_token();
        self.leases.spawn(lease::keep(
            Arc::clone(&sub),
            self.troubles.part(),
            living.clone(),
        ));
        let lease_guard = Arc::new(living.drop_guard());

        let reading = self.closing.child_token();
        let (asks, asked) = mpsc::channel(1);
        let (fresh_in, fresh) = mpsc::channel(1);
        let (again_in, again) = mpsc::channel(2);
        let (orders_in, orders) = mpsc::channel(1);
        let (caught_up_in, caught_up) = watch::channel(false);
        let recovery = Recovery {
            sub: Arc::clone(&sub),
            again: again_in,
            orders,
            caught_up: caught_up_in,
            part: self.troubles.part(),
        };
        let reader = Reader {
            sub: Arc::clone(&sub),
            endpoint: self.endpoint.of_key(&spec.address),
            part: self.troubles.part(),
            asks: asked,
            fresh: fresh_in,
            orders: orders_in,
            caught_up,
        };
        tokio::spawn(reading.clone().run_until_cancelled_owned(recovery.run()));
        tokio::spawn(reading.clone().run_until_cancelled_owned(reader.run()));
        Subscribed {
            source: Box::new(RedisSource {
                sub: Arc::clone(&sub),
                inbox,
                asks,
                asked: false,
                fresh,
                again,
                ready: std::collections::VecDeque::new(),
                reading: reading.clone(),
                _reading: reading.drop_guard(),
                _lease: Arc::clone(&lease_guard),
            }),
            settler: Box::new(RedisSettler {
                sub,
                _lease: lease_guard,
            }),
        }
    }
}

/// Keeps the shared connection in use, so that health is known also where nothing is published.
async fn probe(link: Arc<Link>, first: Part, mut backoff: Backoff) {
    let mut first = Some(first);
    loop {
        match link.query(&redis::cmd("PING")).await {
            Ok(_) => {
                first = None;
                backoff.reset();
                tokio::time::sleep(PROBE).await;
            }
            Err(e) => {
                if let Some(first) = &first {
                    first.trouble(&link.error(&e).to_string());
                }
                backoff.wait().await;
            }
        }
    }
}

impl Broker for RedisBroker {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn system(&self) -> &'static str {
        "redis"
    }

    fn capabilities(&self, kind: PlaceKind) -> Capabilities {
        let keeps = !matches!(kind, PlaceKind::Channel | PlaceKind::Pattern);
        Capabilities {
            redelivers: keeps,
            orders: Ordering::None,
            delays: keeps,
            counts_deliveries: keeps,
            keeps_attempts: keeps,
            native_dead_letter: false,
            atomic: keeps,
            patience: None,
        }
    }

    fn subscribe<'a>(
        &'a self,
        spec: SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> BoxFuture<'a, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            if spec.ordered {
                return Err(BrokerError::Refused(format!(
                    "subscription {}: Redis promises no order; use `order: none`",
                    spec.name
                )));
            }
            let keeps = self.capabilities(spec.kind).redelivers;
            if self.options.access.cluster && keeps && !keys::in_one_slot(&spec.address) {
                return Err(BrokerError::Refused(format!(
                    "subscription {}: what the host keeps beside `{}` would be in another slot of the cluster; \
                     use a name without braces, or with a hash tag",
                    spec.name, spec.address
                )));
            }
            Ok(match spec.kind {
                PlaceKind::List | PlaceKind::SortedSet => {
                    let (source, settler) = self.start_queue(&spec, inbox);
                    Subscribed {
                        source: Box::new(source),
                        settler: Box::new(settler),
                    }
                }
                PlaceKind::Channel | PlaceKind::Pattern => self.start_channel(&spec, inbox),
                _ => self.start(&spec, inbox),
            })
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(publisher::RedisPublisher {
            link: Arc::clone(&self.data),
        })
    }

    fn health(&self) -> Health {
        self.troubles.health()
    }

    fn lag<'a>(&'a self, spec: &'a SubscriptionSpec) -> BoxFuture<'a, Result<Lag, BrokerError>> {
        Box::pin(async move {
            if spec.kind != PlaceKind::Stream {
                return self.queue_lag(spec).await;
            }
            let retry = subscription::retry_of(&self.options, spec);
            let main = lag::of(&self.control, &self.scripts, &spec.address, &spec.group).await?;
            let again = lag::of(&self.control, &self.scripts, &retry, &spec.group).await?;
            Ok(Lag {
                waiting: main.waiting + again.waiting,
                pending: main.pending + again.pending,
            })
        })
    }

    fn lost(&self) -> u64 {
        self.trimmed() + self.unheard()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.closing.cancel();
            self.leases.close();
            self.leases.wait().await;
        })
    }
}
