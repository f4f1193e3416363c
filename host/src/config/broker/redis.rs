//! Redis and Valkey: how to reach a server, the sentinels that watch one, or a cluster.
//!
//! What the file says about a server can be sensible only together; [`Redis::faults`] looks at that, without a server.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Secret, duration};

mod faults;

/// Redis and Valkey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where: `redis://[user:password@]host:port/db`, `rediss://…` for TLS, or `{ file: … }` that holds it. With
    /// `cluster`, one or more of its nodes, separated by commas. With `sentinels`, its host and port are not used.
    pub url: Secret,
    /// The user, where it is not in `url`; without it, `default`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// Its password, or `{ file: … }` that holds it.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Certificates, with `rediss://`.
    #[serde(default)]
    pub tls: Tls,
    /// The sentinels that watch the server, `host:port` each, with TLS where `url` has it; or `redis://host:port` and
    /// `rediss://host:port`, where they differ. The server is the one they name.
    #[serde(default)]
    pub sentinels: Vec<String>,
    /// What the sentinels call the server.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub master: Option<String>,
    /// The user at the sentinels; without it, `default`. That of `url` is not shown to them.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub sentinel_user: Option<String>,
    /// Its password, or `{ file: … }` that holds it.
    #[serde(default)]
    pub sentinel_password: Option<Secret>,
    /// Whether the server is a node of a Redis Cluster. The others are found through it.
    #[serde(default)]
    pub cluster: bool,
    /// How many replicas must have an output before it counts as confirmed; without it, none. An output and a settlement
    /// that are one step do not wait: a fail-over loses both or neither.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub wait_replicas: Option<u32>,
    /// How long a host that stopped answering keeps its messages before another one may take them: at least 500ms.
    #[serde(default = "Redis::lease", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub lease: Duration,
    /// How many entries one read asks for: 1 to 10,000.
    #[serde(default = "Redis::prefetch")]
    #[schemars(range(min = 1, max = 10_000))]
    pub prefetch: u32,
    /// How long a connection attempt may take.
    #[serde(default = "Redis::connect_timeout", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub connect_timeout: Duration,
    /// Claim entries that consumers of other clients in the same group have left unacknowledged for this long, at least
    /// 1s; without it, never.
    #[serde(default, with = "duration::option")]
    #[schemars(with = "Option<duration::Text>")]
    pub foreign_idle: Option<Duration>,
    /// The name of this host in its consumer groups; without it, the machine's name and some random letters.
    #[serde(default)]
    pub name: Option<String>,
}

impl Redis {
    fn lease() -> Duration {
        Duration::from_secs(5)
    }

    fn prefetch() -> u32 {
        256
    }

    fn connect_timeout() -> Duration {
        Duration::from_secs(5)
    }

    /// Redis at this URL, everything else by default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url),
            user: None,
            password: None,
            tls: Tls::default(),
            sentinels: Vec::new(),
            master: None,
            sentinel_user: None,
            sentinel_password: None,
            cluster: false,
            wait_replicas: None,
            lease: Self::lease(),
            prefetch: Self::prefetch(),
            connect_timeout: Self::connect_timeout(),
            foreign_idle: None,
            name: None,
        }
    }

    /// The URLs: one, and of a cluster as many as are given.
    pub fn urls(&self) -> Vec<&str> {
        let url = self.url.expose();
        if self.cluster {
            url.split(',').map(str::trim).collect()
        } else {
            vec![url]
        }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        let url = self.url.expose();
        ["rediss:", "valkeys:"].iter().any(|s| url.starts_with(s))
    }

    /// The URL of a sentinel, as TLS or not as `url` where it does not say itself.
    #[must_use]
    pub fn sentinel_url(&self, sentinel: &str) -> String {
        match (sentinel.contains("://"), self.is_encrypted()) {
            (true, _) => sentinel.to_owned(),
            (false, true) => format!("rediss://{sentinel}"),
            (false, false) => format!("redis://{sentinel}"),
        }
    }
}

/// Certificates, with `rediss://`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates (PEM) of the authorities that are trusted; without it, those of the machine.
    #[schemars(extend("format" = "path"))]
    pub ca: Option<PathBuf>,
    /// Our own certificate (PEM), where the server wants one.
    #[schemars(extend("format" = "path"))]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[schemars(extend("format" = "path"))]
    pub key: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
