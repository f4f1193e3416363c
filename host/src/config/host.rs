//! The process itself: what it may use, where it listens, how it logs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Secret, duration};

/// What the process may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// Where compiled components are kept; without it, `$XDG_CACHE_HOME/wharf`, else `~/.cache/wharf`, else
    /// `.wharf/cache` beside the configuration. Never empty once loaded.
    #[schemars(extend("format" = "path"))]
    pub cache: PathBuf,
    /// The memory of all instances together; without it, 60% of the container's limit or of the machine's memory.
    pub guest_memory: Option<ByteSize>,
    /// Threads that run handlers; without it, one per core.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// Messages in hand at once in the whole process.
    pub max_in_flight: MaxInFlight,
    /// How long stopping may take; the last fifth is kept for flushing.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub drain_timeout: Duration,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            cache: PathBuf::new(),
            guest_memory: None,
            workers: None,
            max_in_flight: MaxInFlight::default(),
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// Messages in hand at once in the whole process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaxInFlight {
    /// Their number.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub messages: u32,
    /// Their bytes; one message is always taken.
    pub bytes: ByteSize,
}

impl Default for MaxInFlight {
    fn default() -> Self {
        Self {
            messages: 16_384,
            bytes: ByteSize::mib(256),
        }
    }
}

/// Where metrics and health are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// The address of `/metrics`, `/livez` and `/readyz`; `null` for none.
    #[schemars(with = "Option<String>", extend("format" = "socket-address"))]
    pub listen: Option<SocketAddr>,
    /// What `/readyz` answers for.
    pub readiness: Readiness,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            listen: Some((Ipv4Addr::LOCALHOST, 9090).into()),
            readiness: Readiness::default(),
        }
    }
}

/// What `/readyz` answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// Ready while every broker that a plugin needs answers.
    #[default]
    Brokers,
    /// Ready while the process runs.
    Process,
}

/// Where the host is administered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address of `/api/v1`, such as `127.0.0.1:9091`; without it, none.
    #[schemars(with = "Option<String>", extend("format" = "socket-address"))]
    pub listen: Option<SocketAddr>,
    /// What callers must present; required unless only this machine can call.
    pub token: Option<Secret>,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look; without it, `pretty` on a terminal and `json` elsewhere.
    pub format: Option<LogFormat>,
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, also per part (`info,wharf::broker=debug`).
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: None,
            level: "info".to_owned(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines, one object per line.
    Json,
}
