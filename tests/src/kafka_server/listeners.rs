//! Further ways into a server, for one broker, before it runs: behind a proxy, encrypted, for those who say who they are.

use std::fs;

use super::KafkaServer;
use super::node::Listener;
use crate::certificates::Certificates;
use crate::ports::free_port;

/// A user of every listener that asks for one.
pub const USER: &str = "wharf";
/// Its password.
pub const PASSWORD: &str = "hunter2";

impl KafkaServer {
    /// Tells clients to come by another port: that of a proxy to [`port`](Self::port).
    pub fn advertise(&mut self, port: u16) {
        self.only("a proxy").advertised = port;
    }

    /// By another port as well, where clients are told to come by `advertised`: that of a proxy to it. Whoever comes by
    /// [`port`](Self::port) does without the proxy. Answers the port.
    pub fn listen_behind(&mut self, advertised: u16) -> u16 {
        let port = self.listen("BEHIND", "PLAINTEXT");
        let node = self.only("a proxy");
        for listener in node.listeners.iter_mut().filter(|l| l.port == port) {
            listener.advertised = advertised;
        }
        port
    }

    /// By another port as well, encrypted, with the certificate `server`. `mutual`: clients must show one of the same
    /// authority. Answers the port.
    pub fn listen_with_tls(&mut self, certificates: &Certificates, mutual: bool) -> u16 {
        let (name, auth) = match mutual {
            true => ("MUTUAL", "required"),
            false => ("TLS", "none"),
        };
        let own = certificates.text("server.key") + &certificates.text("server.pem");
        let file = self.folder.path().join(format!("{name}.pem"));
        fs::write(&file, own).expect("written");
        let trusted = certificates.path("ca.pem");
        self.set(
            name,
            &[
                ("ssl.keystore.type", "PEM"),
                ("ssl.keystore.location", &file.to_string_lossy()),
                ("ssl.truststore.type", "PEM"),
                ("ssl.truststore.location", &trusted.to_string_lossy()),
                ("ssl.client.auth", auth),
            ],
        );
        self.listen(name, "SSL")
    }

    /// By another port as well, for [`USER`] with its [`PASSWORD`] as they are (SASL PLAIN). Answers the port.
    pub fn listen_with_password(&mut self) -> u16 {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let jaas = format!("{module} required user_{USER}=\"{PASSWORD}\";");
        self.set(
            "GUARDED",
            &[
                ("sasl.enabled.mechanisms", "PLAIN"),
                ("plain.sasl.jaas.config", &jaas),
            ],
        );
        self.listen("GUARDED", "SASL_PLAINTEXT")
    }

    /// By another port as well, for [`USER`] who knows its [`PASSWORD`] (SASL SCRAM, both kinds). Answers the port.
    pub fn listen_with_scram(&mut self) -> u16 {
        let jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        self.set(
            "SCRAM",
            &[
                ("sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512"),
                ("scram-sha-256.sasl.jaas.config", jaas),
                ("scram-sha-512.sasl.jaas.config", jaas),
            ],
        );
        let user = |kind: &str| format!("{kind}=[name={USER},password={PASSWORD}]");
        let node = self.only("a user");
        node.users = ["SCRAM-SHA-256", "SCRAM-SHA-512"].map(user).into();
        self.listen("SCRAM", "SASL_PLAINTEXT")
    }

    /// Properties of one listener.
    fn set(&mut self, name: &str, properties: &[(&str, &str)]) {
        let name = name.to_lowercase();
        let line = |(key, value): &(&str, &str)| format!("listener.name.{name}.{key}={value}");
        self.options.extend(properties.iter().map(line));
    }

    fn listen(&mut self, name: &'static str, protocol: &'static str) -> u16 {
        let port = free_port();
        self.only("a further way in").listeners.push(Listener {
            name,
            protocol,
            port,
            advertised: port,
        });
        port
    }

    fn only(&mut self, what: &str) -> &mut super::Node {
        let [node] = &mut self.nodes[..] else {
            panic!("{what} is for one broker");
        };
        node
    }
}
