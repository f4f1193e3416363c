//! Encrypted connections, and what is said about one that cannot be made.

use wharf::broker::redis::{Access, Options};
use wharf::config::Secret;
use wharf::config::redis::Tls;
use wharf::ports::{Broker, Health};
use wharf_tests::certificates::Certificates;
use wharf_tests::ports::free_port;
use wharf_tests::redis_server::RedisServer;

use crate::support::*;

/// A server that speaks TLS at a second port.
struct Secured {
    server: RedisServer,
    port: u16,
    certificates: Certificates,
}

impl Secured {
    /// Its certificate is for `localhost`. `clients`: whether it wants one of them, `yes` or `no`.
    async fn start(clients: &str) -> Self {
        let certificates = Certificates::new("localhost", &["server", "client"]);
        let port = free_port();
        let path = |file: &str| certificates.path(file).display().to_string();
        let mut server = RedisServer::absent(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &path("server.pem"),
            "--tls-key-file",
            &path("server.key"),
            "--tls-ca-cert-file",
            &path("ca.pem"),
            "--tls-auth-clients",
            clients,
        ]);
        server.run().await;
        Self {
            server,
            port,
            certificates,
        }
    }

    fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    /// Of a host that trusts the authority and has a certificate of it.
    fn tls(&self) -> Tls {
        Tls {
            ca: Some(self.certificates.path("ca.pem")),
            certificate: Some(self.certificates.path("client.pem")),
            key: Some(self.certificates.path("client.key")),
        }
    }
}

fn with(url: &str, tls: Tls) -> Options {
    let mut options = options(url);
    options.access.tls = tls;
    options
}

/// Waits until the broker says what keeps it, in these words.
async fn waits_for(options: Options, words: &[&str]) {
    let host = host_with(options, spec()).await;
    until(&format!("{words:?}"), || async {
        match host.broker.health() {
            Health::Waiting(said) => {
                assert!(!said.contains("sesame"), "a password: {said}");
                words.iter().all(|word| said.contains(word))
            }
            Health::Ready => panic!("it is ready: {words:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn both_sides_show_who_they_are() {
    let secured = Secured::start("yes").await;
    let server = &secured.server;
    add(server, STREAM, 0..20).await;
    let mut host = host_with(with(&secured.url(), secured.tls()), spec()).await;
    let taken = host.take(20).await;
    let results = host.commit(taken, |_| vec![to("out", "x")]).await;
    assert!(results.iter().all(|r| *r == wharf::ports::Committed::Done));
    let sent = host.broker.publisher().publish(&[&to("out", "y")]).await;
    assert_eq!(sent, [Ok(())]);
    assert_eq!(host.broker.len("out").await.unwrap(), 21);
    nothing_left(server).await;
}

#[tokio::test]
async fn without_a_certificate_of_ours_the_authority_is_enough() {
    let secured = Secured::start("no").await;
    secured
        .server
        .command("CONFIG SET requirepass sesame")
        .await;
    let mut options = with(
        &secured.url(),
        Tls {
            ca: secured.tls().ca,
            ..Tls::default()
        },
    );
    options.access.password = Some(Secret::new("sesame"));
    let host = host_with(options, spec()).await;
    until("ready", || async { host.broker.health() == Health::Ready }).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let secured = Secured::start("yes").await;
    let ours = secured.tls();
    let strangers = Certificates::new("localhost", &["client"]);
    // Whom they do not know, whom we do not know, and a name that is not in the certificate.
    let unknown = Tls {
        ca: Some(strangers.path("ca.pem")),
        ..ours.clone()
    };
    let nobody = Tls {
        certificate: None,
        key: None,
        ..ours.clone()
    };
    let stranger = Tls {
        certificate: Some(strangers.path("client.pem")),
        key: Some(strangers.path("client.key")),
        ..ours.clone()
    };
    let by_number = format!("rediss://127.0.0.1:{}", secured.port);
    let url = secured.url();
    waits_for(
        with(&url, unknown),
        &["invalid peer certificate", "`tls.ca`"],
    )
    .await;
    waits_for(
        with(
            &url,
            Tls {
                ca: None,
                ..ours.clone()
            },
        ),
        &["UnknownIssuer", "`tls.ca`"],
    )
    .await;
    waits_for(with(&by_number, ours), &["another name"]).await;
    waits_for(with(&url, nobody), &["set `tls.certificate` and `tls.key`"]).await;
    waits_for(with(&url, stranger), &["fatal alert", "`tls.certificate`"]).await;
}

#[tokio::test]
async fn the_wrong_port_is_said() {
    let secured = Secured::start("no").await;
    let plain = format!("redis://:sesame@localhost:{}", secured.port);
    waits_for(options(&plain), &["write `rediss://`"]).await;
    let encrypted = format!("rediss://:sesame@localhost:{}", secured.server.port());
    let words = ["does not speak TLS there", "`redis://`"];
    waits_for(with(&encrypted, secured.tls()), &words).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_once() {
    let certificates = Certificates::new("localhost", &["client"]);
    let opened = |tls: Tls| {
        let options = Options {
            access: Access {
                tls,
                ..Access::default()
            },
            ..options("rediss://localhost:1")
        };
        let opened = wharf::broker::redis::RedisBroker::open(options);
        opened.err().expect("refused").to_string()
    };
    let missing = opened(Tls {
        ca: Some("/nowhere/ca.pem".into()),
        ..Tls::default()
    });
    assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
    let swapped = opened(Tls {
        ca: Some(certificates.path("client.key")),
        ..Tls::default()
    });
    assert!(swapped.contains("no certificate (PEM)"), "{swapped}");
}
