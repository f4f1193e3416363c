//! How to reach the servers.
//!
//! The client reads neither user nor password out of a URL (0.51, `Connector::try_connect_to`), so that is done here, and
//! what is handed to it, and shown in logs, has none.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

use super::wire::decode;
use crate::config::Secret;
use crate::config::nats::Nats;
use crate::ports::BrokerError;

/// Between two signs of life of a connection that is silent; it is given up after two of them without an answer.
const PING: Duration = Duration::from_secs(4);
/// Most time between two tries to connect.
const MOST: Duration = Duration::from_secs(2);
/// Commands that may wait for the connection.
const COMMANDS: usize = 4096;

/// How the host shows who it is.
#[derive(Clone)]
enum Login {
    Nobody,
    User(String, Secret),
    Token(Secret),
    Nkey(Secret),
    /// What a file of credentials holds.
    Credentials(Secret),
}

/// How to reach the servers.
#[derive(Clone)]
pub(super) struct Endpoint {
    servers: Vec<ServerAddr>,
    login: Login,
    config: Arc<Nats>,
    /// Hosts and ports.
    pub(super) at: Arc<str>,
}

fn refused(what: impl std::fmt::Display) -> BrokerError {
    BrokerError::Refused(format!("nats: {what}"))
}

impl Endpoint {
    /// From the configuration; reads the credentials.
    pub(super) fn new(config: &Nats) -> Result<Self, BrokerError> {
        let mut servers = Vec::new();
        let mut shown = Vec::new();
        let mut login = Login::Nobody;
        for one in config.url.expose().split(',') {
            // The client's reason may quote the URL.
            let parsed = one.trim().parse::<ServerAddr>();
            let server = parsed.map_err(|_| refused("the url cannot be used"))?;
            if let (Login::Nobody, Some(user)) = (&login, server.username()) {
                let user = decode(user).ok_or_else(|| refused("the user in the url is no text"))?;
                login = match server.password() {
                    Some(password) => {
                        let password = decode(password);
                        let password = password
                            .ok_or_else(|| refused("the password in the url is no text"))?;
                        Login::User(user, Secret::new(password))
                    }
                    None => Login::Token(Secret::new(user)),
                };
            }
            let host = server.host();
            let host = if host.contains(':') {
                format!("[{host}]:{}", server.port())
            } else {
                format!("{host}:{}", server.port())
            };
            let bare = format!("{}://{host}", server.scheme());
            servers.push(
                bare.parse()
                    .map_err(|_| refused("the url cannot be used"))?,
            );
            shown.push(host);
        }
        if let Some(path) = &config.credentials {
            let text = std::fs::read_to_string(path)
                .map_err(|e| refused(format!("{}: {}", path.display(), e.kind())))?;
            ConnectOptions::with_credentials(&text)
                .map_err(|_| refused(format!("{}: no credentials are in it", path.display())))?;
            login = Login::Credentials(Secret::new(text));
        } else if let Some(seed) = &config.nkey {
            login = Login::Nkey(seed.clone());
        } else if let Some(token) = &config.token {
            login = Login::Token(token.clone());
        } else if let (Some(user), Some(password)) = (&config.user, &config.password) {
            login = Login::User(user.clone(), password.clone());
        }
        // They are read anew for each connection; a missing one is told now.
        let files = [&config.tls.ca, &config.tls.certificate, &config.tls.key];
        for path in files.into_iter().flatten() {
            std::fs::File::open(path)
                .map_err(|e| refused(format!("{}: {}", path.display(), e.kind())))?;
        }
        Ok(Self {
            servers,
            login,
            config: Arc::new(config.clone()),
            at: shown.join(",").into(),
        })
    }

    pub(super) fn servers(&self) -> Vec<ServerAddr> {
        self.servers.clone()
    }

    /// What a connection is made with, but for what listens to it.
    pub(super) fn options(&self) -> Result<ConnectOptions, BrokerError> {
        let config = &self.config;
        let mut options = ConnectOptions::new()
            .name(config.name.clone().unwrap_or_else(machine))
            .connection_timeout(config.connect_timeout)
            .ping_interval(PING)
            .client_capacity(COMMANDS)
            .reconnect_delay_callback(|tries| wait(tries, fastrand::f64()))
            .retry_on_initial_connect();
        options = match &self.login {
            Login::Nobody => options,
            Login::User(user, password) => {
                options.user_and_password(user.clone(), password.expose().to_owned())
            }
            Login::Token(token) => options.token(token.expose().to_owned()),
            Login::Nkey(seed) => options.nkey(seed.expose().trim().to_owned()),
            Login::Credentials(text) => options
                .credentials(text.expose())
                .map_err(|_| refused("no credentials are in the file"))?,
        };
        if let Some(ca) = &config.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if config.tls.first {
            options = options.tls_first();
        }
        Ok(options)
    }
}

/// How long before the next try; the client counts from 1 after each connection that was made. Never nothing: a server may
/// take connections and close them.
fn wait(tries: usize, dice: f64) -> Duration {
    let doubled = u32::try_from(tries.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(8);
    let full = Duration::from_millis(50)
        .saturating_mul(1 << doubled)
        .min(MOST);
    full.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0)
}

fn machine() -> String {
    let name = rustix::system::uname();
    format!("wharf {}", name.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_never_more_than_some_in_a_second() {
        let ms = |tries, dice| wait(tries, dice).as_millis();
        let steps: Vec<_> = (0..9).map(|n| ms(n, 0.0)).collect();
        assert_eq!(steps, [50, 50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(ms(usize::MAX, 1.0), 1000);
        assert_eq!(ms(1, 1.0), 25);
    }

    #[test]
    fn credentials_are_taken_out_of_the_url() {
        let config = Nats::new("nats://ada:hunter%402@one:4333, tls://[::1]");
        let endpoint = Endpoint::new(&config).unwrap();
        assert_eq!(&*endpoint.at, "one:4333,[::1]:4222");
        let urls: Vec<_> = endpoint.servers.iter().map(|s| s.as_url_str()).collect();
        assert!(!format!("{urls:?}").contains("hunter"), "{urls:?}");
        let Login::User(user, password) = &endpoint.login else {
            panic!("no user");
        };
        assert_eq!((user.as_str(), password.expose()), ("ada", "hunter@2"));
        let Login::Token(token) = &Endpoint::new(&Nats::new("nats://t0k@one")).unwrap().login
        else {
            panic!("no token");
        };
        assert_eq!(token.expose(), "t0k");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut config = Nats::new("nats://one");
        config.credentials = Some("/nowhere/bus.creds".into());
        let problem = Endpoint::new(&config).err().unwrap().to_string();
        assert!(problem.contains("/nowhere/bus.creds"), "{problem}");
        config.credentials = None;
        config.tls.ca = Some("/nowhere/ca.pem".into());
        let problem = Endpoint::new(&config).err().unwrap().to_string();
        assert!(problem.contains("/nowhere/ca.pem"), "{problem}");
    }
}
