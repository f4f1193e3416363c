//! Making a connection, and what an error means.
//!
//! TLS is rustls with ring. The client's own feature `rustls` would bring a second provider of cryptography (aws-lc, built
//! from C), and with two of them rustls does not choose by itself; so `rustls--ring` and `rustls-native-certs` are taken
//! without it.
//!
//! The client does not always answer (lapin 4.12.3). A connection attempt that is refused just as it begins, and a channel
//! that is asked for just as its connection ends, leave whoever waits without a word and for ever: what would have answered
//! is dropped. So nothing that it is asked is awaited without a bound ([`within`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::LongString;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, DefaultConnectionBuilder, ErrorKind};

use super::link::{Pace, pace};
use crate::config::rabbitmq::RabbitMq;
use crate::ports::BrokerError;

mod advice;

pub(super) use advice::advised;

/// What went wrong, for people and for the next try. Never with credentials.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) pace: Pace,
}

/// How to reach the server.
#[derive(Clone)]
pub(super) struct Endpoint {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    name: String,
    timeout: Duration,
    /// Host, port and virtual host.
    pub(super) at: Arc<str>,
}

impl Endpoint {
    /// From the configuration; reads the certificates.
    pub(super) fn new(config: &RabbitMq) -> Result<Self, BrokerError> {
        let refused = |what: &str| BrokerError::Refused(format!("rabbitmq: {what}"));
        let mut uri: AMQPUri = config
            .url
            .expose()
            .parse()
            .map_err(|_| refused("the url cannot be used"))?;
        let heartbeat = config.heartbeat.as_secs();
        uri.query.heartbeat = Some(u16::try_from(heartbeat).unwrap_or(u16::MAX));
        let file = |path: &std::path::Path| {
            std::fs::read(path).map_err(|e| refused(&format!("{}: {}", path.display(), e.kind())))
        };
        let tls = &config.tls;
        let identity = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some(OwnedIdentity::PKCS8 {
                pem: file(certificate)?,
                key: file(key)?,
            }),
            _ => None,
        };
        let cert_chain = match &tls.ca {
            Some(ca) => Some(
                String::from_utf8(file(ca)?)
                    .map_err(|_| refused(&format!("{} is not PEM", ca.display())))?,
            ),
            None => None,
        };
        let authority = &uri.authority;
        let at = format!("{}:{}/{}", authority.host, authority.port, uri.vhost);
        Ok(Self {
            at: at.into(),
            tls: OwnedTLSConfig {
                identity,
                cert_chain,
            },
            name: config.name.clone().unwrap_or_else(machine),
            timeout: config.connect_timeout,
            uri,
        })
    }

    /// A new connection, for `what`, as the server's list of connections will say.
    pub(super) async fn connect(&self, what: &str) -> Result<Connection, Trouble> {
        let name = LongString::from(format!("{} {what}", self.name));
        let properties = ConnectionProperties::default()
            .with_connection_name(name)
            .with_client_property("product".into(), "wharf".into());
        let builder = DefaultConnectionBuilder::new()
            .map_err(|e| self.trouble(&e))?
            .with_uri(self.uri.clone())
            .with_tls_config(self.tls.clone())
            .with_properties(properties);
        match tokio::time::timeout(self.timeout, builder.connect()).await {
            Ok(connected) => connected.map_err(|e| self.trouble(&e)),
            Err(_) => {
                let said = advised(format!("no answer in {:?}", self.timeout));
                Err(Trouble {
                    reason: format!("rabbitmq at {}: {said}", self.at),
                    pace: Pace::Soon,
                })
            }
        }
    }

    pub(super) fn trouble(&self, error: &lapin::Error) -> Trouble {
        Trouble {
            reason: format!("rabbitmq at {}: {}", self.at, told(error)),
            pace: pace(reply_code(error)),
        }
    }
}

/// What the client answers, or that it did not in time.
pub(super) async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = lapin::Result<T>>,
) -> lapin::Result<T> {
    let answer = tokio::time::timeout(limit, asked).await;
    answer.unwrap_or_else(|_| Err(no_answer()))
}

/// The client said nothing.
pub(super) fn no_answer() -> lapin::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer").into()
}

/// The server's reply code, where it is the server who complains.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// The server's own words, where it said some.
pub(super) fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// The same, and what to change.
pub(super) fn told(error: &lapin::Error) -> String {
    advised(words(error))
}

/// The machine's name, or `host`.
fn machine() -> String {
    let name = rustix::system::uname();
    match name.nodename().to_str() {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => "host".to_owned(),
    }
}
