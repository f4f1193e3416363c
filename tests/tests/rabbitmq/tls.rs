//! Encrypted connections, both sides with a certificate.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use wharf::config::rabbitmq::{RabbitMq, Tls};
use wharf::ports::{Broker as _, Health};
use wharf_tests::ports::free_port;
use wharf_tests::rabbit_server::RabbitServer;

use crate::support::*;

/// Certificates of an authority of the test's own.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let put = |name: &str, text: String| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        put(
            "ca.pem",
            params.self_signed(&key).expect("a certificate").pem(),
        );
        let issuer = Issuer::new(params, key);
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
            params.distinguished_name.push(DnType::CommonName, name);
            let signed = params.signed_by(&key, &issuer).expect("a certificate");
            put(&format!("{name}.pem"), signed.pem());
            put(&format!("{name}.key"), key.serialize_pem());
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server that speaks TLS at the port, and wants a certificate.
    async fn server(&self, port: u16) -> RabbitServer {
        let file =
            |key: &str, name: &str| format!("ssl_options.{key} = {}", self.path(name).display());
        let lines = [
            format!("listeners.ssl.default = 127.0.0.1:{port}"),
            file("cacertfile", "ca.pem"),
            file("certfile", "server.pem"),
            file("keyfile", "server.key"),
            "ssl_options.verify = verify_peer".to_owned(),
            "ssl_options.fail_if_no_peer_cert = true".to_owned(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut server = RabbitServer::absent(&lines);
        server.run().await;
        server
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_show_who_they_are() {
    let (certificates, port) = (Certificates::new(), free_port());
    let server = certificates.server(port).await;
    server.declare("in", "classic", &[]).await;
    let url = format!("amqps://guest:guest@localhost:{port}/%2f");
    let ours = Tls {
        ca: Some(certificates.path("ca.pem")),
        certificate: Some(certificates.path("client.pem")),
        key: Some(certificates.path("client.key")),
    };
    let config = |tls: Tls| RabbitMq {
        tls,
        ..RabbitMq::new(&url)
    };
    let mut host = host_with(config(ours.clone()), spec("in")).await;
    let (_connection, channel) = server.client().await;
    publish(&channel, "in", "a", persistent()).await;
    let taken = host.take(1).await;
    host.accept(taken).await;
    host.stop().await;
    nothing_left(&server, "in").await;

    // One whom we do not know, and one who does not know us.
    let nobody = Tls {
        certificate: None,
        key: None,
        ..ours.clone()
    };
    let anybody = Tls { ca: None, ..ours };
    for (tls, reason) in [(anybody, "UnknownIssuer"), (nobody, "CertificateRequired")] {
        let host = host_with(config(tls), spec("in")).await;
        until(reason, || match host.broker.health() {
            Health::Waiting(said) => said.contains(reason) && !said.contains("guest"),
            Health::Ready => false,
        })
        .await;
    }
}
