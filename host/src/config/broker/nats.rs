//! NATS: how to reach servers, and which streams to make there.
//!
//! What the file says can be sensible only together; [`Nats::faults`] looks at that, without a server.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Secret, duration};

mod declare;
mod faults;

pub use declare::{Declare, Discard, Retention, Storage, Stream};
pub use faults::{name_problem, subject_problem};

/// NATS, core and JetStream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Where: `nats://host:port`, `tls://…` for TLS, several separated by commas, or `{ file: … }` that holds it. User and
    /// password, or a token alone, may stand before the host.
    pub url: Secret,
    /// A file of credentials (`.creds`: a JWT and its seed).
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub credentials: Option<PathBuf>,
    /// The seed of an nkey, or `{ file: … }` that holds it.
    #[serde(default)]
    pub nkey: Option<Secret>,
    /// A token, or `{ file: … }` that holds it.
    #[serde(default)]
    pub token: Option<Secret>,
    /// User, with `password`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// Its password, or `{ file: … }` that holds it.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Certificates. A server that wants TLS gets it whether the URL says so or not.
    #[serde(default)]
    pub tls: Tls,
    /// How long a connection attempt may take.
    #[serde(default = "Nats::connect_timeout", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub connect_timeout: Duration,
    /// How long a host that stopped answering keeps a stream's messages before another one gets them: at least 1s. The host
    /// asks for more time every third of it.
    #[serde(default = "Nats::ack_wait", with = "duration")]
    #[schemars(with = "duration::Text")]
    pub ack_wait: Duration,
    /// Most messages of one subscription that all hosts of its group together may have in hand: 1 to 1,000,000.
    #[serde(default = "Nats::max_ack_pending")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_ack_pending: u32,
    /// How this host is called in the server's list of connections; without it, the machine's name.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// Streams to make where they are missing. One that exists otherwise is left as it is, and reported.
    #[serde(default)]
    pub declare: Declare,
}

impl Nats {
    fn connect_timeout() -> Duration {
        Duration::from_secs(5)
    }

    fn ack_wait() -> Duration {
        Duration::from_secs(30)
    }

    fn max_ack_pending() -> u32 {
        10_000
    }

    /// NATS at this URL, everything else by default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url),
            credentials: None,
            nkey: None,
            token: None,
            user: None,
            password: None,
            tls: Tls::default(),
            connect_timeout: Self::connect_timeout(),
            ack_wait: Self::ack_wait(),
            max_ack_pending: Self::max_ack_pending(),
            name: None,
            declare: Declare::default(),
        }
    }
}

/// Certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates (PEM) of the authorities that are trusted instead of those of the machine.
    #[schemars(extend("format" = "path"))]
    pub ca: Option<PathBuf>,
    /// Our own certificate (PEM), where the server wants one.
    #[schemars(extend("format" = "path"))]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[schemars(extend("format" = "path"))]
    pub key: Option<PathBuf>,
    /// TLS before the server has said anything, as servers with `handshake_first` want it.
    pub first: bool,
}

#[cfg(test)]
mod tests;
