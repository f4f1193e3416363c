//! Where a server is found, and how it is greeted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, ProtocolVersion, RedisError, TlsCertificates, Value,
};

use super::cluster::{Cluster, Node};
use super::sentinel::Watched;
use super::slot::{self, Slot};
use super::words::{PLAIN, SILENT, UNHEARD, breaks, broker_error};
use crate::broker::redis::{Access, Options};
use crate::config::Secret;
use crate::config::redis::Tls;
use crate::ports::BrokerError;

/// Where the server is and how long things may take.
#[derive(Clone)]
pub(in crate::broker::redis) struct Endpoint {
    way: Way,
    /// For messages: host and port, never credentials.
    pub(in crate::broker::redis) at: Arc<str>,
    /// How many replicas must have what is to be confirmed, if any.
    pub(super) replicas: Option<u32>,
    pub(super) dial: Dial,
}

/// How the server is found.
#[derive(Clone)]
enum Way {
    /// It is there.
    One(Box<ConnectionInfo>),
    /// Sentinels say where.
    Watched(Arc<Watched>),
    /// It is the node of a cluster that has this slot; any of its masters where there is none.
    Cluster(Arc<Cluster>, Option<Slot>),
}

impl Endpoint {
    /// From the options; reads the certificates.
    pub(in crate::broker::redis) fn new(options: &Options) -> Result<Self, BrokerError> {
        let access = &options.access;
        let dial = Dial {
            connect: options.connect,
            answer: options.answer,
        };
        let tls = certificates(&access.tls)?;
        let login = (access.user.as_deref(), access.password.as_ref());
        let (way, at) = if access.cluster {
            let urls = options.url.split(',').map(str::trim);
            let seeds: Vec<_> = urls
                .map(|url| info(url, login, &tls))
                .collect::<Result<_, _>>()?;
            let at: Vec<_> = seeds.iter().map(|seed| seed.addr().to_string()).collect();
            let cluster = Cluster::new(seeds, dial);
            (Way::Cluster(Arc::new(cluster), None), at.join(", "))
        } else if access.sentinels.is_empty() {
            let info = info(&options.url, login, &tls)?;
            let at = info.addr().to_string();
            (Way::One(Box::new(info)), at)
        } else {
            let watched = watched(access, info(&options.url, login, &tls)?, &tls, dial)?;
            let at = watched.to_string();
            (Way::Watched(Arc::new(watched)), at)
        };
        Ok(Self {
            way,
            at: at.into(),
            replicas: access.wait_replicas,
            dial,
        })
    }

    /// A new connection on which an answer may take `extra` longer than usual (a blocking read).
    pub(in crate::broker::redis) async fn connect(
        &self,
        extra: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        match &self.way {
            Way::One(info) => self.dial.connect(info, extra).await,
            Way::Watched(watched) => watched.connect(extra).await,
            Way::Cluster(cluster, slot) => {
                let node = cluster.node(*slot).await?;
                let connected = self.dial.connect(&cluster.info(&node), extra).await;
                connected.inspect_err(|_| cluster.forget())
            }
        }
    }

    /// A new connection that listens to channels. Nothing else can be asked on it.
    pub(in crate::broker::redis) async fn listen(&self) -> Result<PubSub, RedisError> {
        let info = match &self.way {
            Way::One(info) => ConnectionInfo::clone(info),
            Way::Watched(watched) => watched.master().await?,
            Way::Cluster(cluster, slot) => cluster.info(&cluster.node(*slot).await?),
        };
        let client = Client::open(info)?;
        let limit = self.dial.connect + self.dial.answer;
        let listening = tokio::time::timeout(limit, client.get_async_pubsub()).await;
        let timed_out = || std::io::Error::new(std::io::ErrorKind::TimedOut, UNHEARD);
        listening.unwrap_or_else(|_| Err(RedisError::from(timed_out())))
    }

    /// Most time to wait for an answer.
    pub(in crate::broker::redis) fn answer(&self) -> Duration {
        self.dial.answer
    }

    /// The same server; of a cluster, the node that has this key.
    pub(in crate::broker::redis) fn of_key(&self, key: &str) -> Self {
        let mut here = self.clone();
        if let Way::Cluster(_, slot) = &mut here.way {
            *slot = Some(slot::of(key.as_bytes()));
        }
        here
    }

    /// Whether the connection an error came by is to be given up for a new one, which may be to another server.
    pub(in crate::broker::redis) fn leaves(&self, error: &RedisError) -> bool {
        let left = breaks(error) || error.redirect_node().is_some();
        if left && let Way::Cluster(cluster, _) = &self.way {
            cluster.forget();
        }
        left
    }

    /// What an error from there means to whoever reads of it.
    pub(in crate::broker::redis) fn error(&self, error: &RedisError) -> BrokerError {
        match error.redirect_node() {
            Some((node, slot)) if self.cluster().is_some() => BrokerError::Unavailable(format!(
                "redis at {}: slot {slot} is at {node} now",
                self.at
            )),
            _ => broker_error(&self.at, error),
        }
    }

    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match &self.way {
            Way::Cluster(cluster, _) => Some(cluster),
            _ => None,
        }
    }

    /// One node of the cluster.
    pub(super) fn to(&self, cluster: &Cluster, node: &Node) -> Self {
        let info = cluster.info(node);
        Self {
            at: info.addr().to_string().into(),
            way: Way::One(Box::new(info)),
            ..self.clone()
        }
    }

    /// Whether commands and scripts may touch both keys in one step.
    pub(in crate::broker::redis) fn together(&self, one: &str, other: &str) -> bool {
        self.cluster().is_none() || slot::of(one.as_bytes()) == slot::of(other.as_bytes())
    }
}

fn watched(
    access: &Access,
    server: ConnectionInfo,
    tls: &TlsCertificates,
    dial: Dial,
) -> Result<Watched, BrokerError> {
    let login = (
        access.sentinel_user.as_deref(),
        access.sentinel_password.as_ref(),
    );
    let sentinels = access
        .sentinels
        .iter()
        .map(|url| info(url, login, tls))
        .collect::<Result<_, _>>()?;
    let name = access.master.clone().unwrap_or_default();
    Ok(Watched::new(sentinels, name, server, dial))
}

/// All that is known of a server before it is asked.
fn info(
    url: &str,
    (user, password): (Option<&str>, Option<&Secret>),
    tls: &TlsCertificates,
) -> Result<ConnectionInfo, BrokerError> {
    let unusable = |e| BrokerError::Refused(format!("the redis url cannot be used: {e}"));
    let info = url.into_connection_info().map_err(unusable)?;
    // Replies are taken apart by hand, so their shape must not depend on the url.
    let mut settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP2);
    if let Some(password) = password {
        settings = settings.set_password(password.expose());
    }
    if let Some(user) = user {
        settings = settings.set_username(user);
    }
    let info = info.set_redis_settings(settings);
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(info);
    }
    let client = Client::build_with_tls(info, tls.clone()).map_err(|e| {
        BrokerError::Refused(format!("redis: the files of `tls` cannot be used: {e}"))
    })?;
    Ok(client.get_connection_info().clone())
}

/// The same server, user and certificates, at another address.
pub(super) fn moved(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let addr = match info.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}

fn certificates(tls: &Tls) -> Result<TlsCertificates, BrokerError> {
    let client_tls = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: pem(certificate, "CERTIFICATE")?,
            client_key: pem(key, "PRIVATE KEY")?,
        }),
        _ => None,
    };
    let root_cert = match &tls.ca {
        Some(ca) => Some(pem(ca, "CERTIFICATE")?),
        None => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

/// A file with something of this kind in it: the client takes one without for an authority that trusts nobody.
fn pem(path: &Path, kind: &str) -> Result<Vec<u8>, BrokerError> {
    let refused = |what: &dyn std::fmt::Display| {
        BrokerError::Refused(format!("redis: {}: {what}", path.display()))
    };
    let text = std::fs::read(path).map_err(|e| refused(&e.kind()))?;
    let end = format!("{kind}-----");
    if String::from_utf8_lossy(&text).contains(&end) {
        Ok(text)
    } else {
        Err(refused(&format_args!(
            "no {} (PEM) is in it",
            kind.to_lowercase()
        )))
    }
}

/// How long things may take, and how a server is greeted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    pub(super) connect: Duration,
    pub(super) answer: Duration,
}

impl Dial {
    /// How long replicas may take: less than the answer that waits for them.
    pub(super) fn replicas(&self) -> Duration {
        self.answer / 2
    }

    /// A connection, greeted.
    pub(super) async fn connect(
        &self,
        info: &ConnectionInfo,
        extra: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect))
            .set_response_timeout(Some(self.answer + extra));
        let client = Client::open(info.clone())?;
        // The client's own timeout covers the socket, this one the greeting (AUTH, SELECT) as well.
        let greeted = tokio::time::timeout(
            self.connect + self.answer,
            client.get_multiplexed_async_connection_with_config(&config),
        );
        match greeted.await {
            Ok(Err(e)) if e.kind() == ErrorKind::AuthenticationFailed => {
                Err(why_not(info, &config).await.unwrap_or(e))
            }
            Ok(Err(e)) if e.is_timeout() && is_encrypted(info) => Err(RedisError::from(
                std::io::Error::new(std::io::ErrorKind::TimedOut, SILENT),
            )),
            Ok(Err(e)) if hung_up(&e) && !is_encrypted(info) => Err(RedisError::from(
                std::io::Error::new(std::io::ErrorKind::ConnectionReset, PLAIN),
            )),
            Ok(connected) => connected,
            Err(_) => Err(RedisError::from(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                UNHEARD,
            ))),
        }
    }
}

fn is_encrypted(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// The connection was made, and ended.
fn hung_up(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

/// What the server says to our credentials: the client keeps its words to itself.
async fn why_not(info: &ConnectionInfo, config: &AsyncConnectionConfig) -> Option<RedisError> {
    let settings = info.redis_settings();
    let mut auth = redis::cmd("AUTH");
    auth.arg(settings.username()).arg(settings.password()?);
    let bare = info
        .clone()
        .set_redis_settings(redis::RedisConnectionInfo::default());
    let mut connection = Client::open(bare)
        .ok()?
        .get_multiplexed_async_connection_with_config(config)
        .await
        .ok()?;
    auth.query_async::<Value>(&mut connection).await.err()
}
