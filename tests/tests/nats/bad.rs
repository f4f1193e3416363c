//! What bad input gets: a named error with the server's own reason, and no secret in it.

use std::path::Path;

use async_nats::jetstream::consumer::{AckPolicy, pull, push};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use wharf::broker::nats::NatsBroker;
use wharf::config::Secret;
use wharf::config::nats::{Nats, Tls};
use wharf::ports::{Broker, Health};
use wharf_tests::nats_server::NatsServer;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_in_the_servers_words() {
    let server = NatsServer::start_with("authorization { user: ada, password: right }").await;
    let wrong = config(&server.url().replace("//", "//ada:hunter2@"));
    let host = host_with(wrong, subject("a", "billing")).await;
    host.says("authorization violation; check `user` and `password`")
        .await;
    assert!(!format!("{:?}", host.broker.health()).contains("hunter2"));

    let right = Nats {
        user: Some("ada".into()),
        password: Some(Secret::new("right")),
        ..config(&server.url())
    };
    host_with(right, subject("a", "billing"))
        .await
        .ready()
        .await;
    let in_url = config(&server.url().replace("//", "//ada:right@"));
    host_with(in_url, subject("a", "billing"))
        .await
        .ready()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in() {
    let server = NatsServer::start_with("authorization { token: open-sesame }").await;
    let with = |token: &str| Nats {
        token: Some(Secret::new(token)),
        ..config(&server.url())
    };
    let refused = host_with(with("hunter2"), subject("a", "billing")).await;
    refused.says("authorization violation").await;
    let taken = host_with(with("open-sesame"), subject("a", "billing")).await;
    taken.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_permitted_is_told_in_the_servers_words() {
    let server = NatsServer::start_with(
        r#"authorization { users: [{
            user: ada, password: right,
            permissions: { publish: { deny: ["secret.>"] }, subscribe: { deny: ["secret.>"] } }
        }] }"#,
    )
    .await;
    let url = server.url().replace("//", "//ada:right@");
    let host = host_with(config(&url), subject("a", "billing")).await;
    host.ready().await;
    let results = host.publish(&[output("secret.plans", "1")]).await;
    let said = format!("{results:?}");
    assert!(
        said.contains("Destination") && said.contains("Permissions Violation"),
        "{said}"
    );
    assert!(said.contains("; give the user the right"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_jetstream_is_told() {
    let server = NatsServer::start_with("jetstream: disabled").await;
    let host = host_with(config(&server.url()), spec()).await;
    host.says("stream ORDERS").await;
    let results = host.publish(&[output("orders.eu", "1")]).await;
    assert!(
        format!("{results:?}").contains("no stream holds"),
        "{results:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_stream_is_named_and_found_once_it_is_there() {
    let server = NatsServer::start().await;
    let mut host = host_with(config(&server.url()), spec()).await;
    host.says("there is no stream ORDERS").await;
    server.stream(STREAM, &SUBJECTS).await;
    server.publish("orders.eu", "a").await;
    let taken = host.take(1).await;
    host.accept(taken).await;
    host.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_consumer_that_would_lose_messages_is_refused_by_name() {
    let server = server().await;
    let stream = server.jetstream().await.get_stream(STREAM).await;
    let stream = stream.expect("a stream");
    let consumer = pull::Config {
        durable_name: Some("billing".into()),
        ack_policy: AckPolicy::Explicit,
        max_deliver: 3,
        ..pull::Config::default()
    };
    stream.create_consumer(consumer).await.expect("made");
    let host = host(&server).await;
    host.says("consumer billing of stream ORDERS is there and cannot be used")
        .await;
    host.says("max_deliver is 3").await;
    // It was left as it was.
    let info = stream.consumer_info("billing").await.expect("there");
    assert_eq!(info.config.max_deliver, 3);
    stream.delete_consumer("billing").await.expect("deleted");
    let pushed = push::Config {
        durable_name: Some("billing".into()),
        deliver_subject: "somewhere".into(),
        ..push::Config::default()
    };
    stream.create_consumer(pushed).await.expect("made");
    host.says("push consumer").await;
    stream.delete_consumer("billing").await.expect("deleted");
    host.ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_of_ours_follows_the_configuration() {
    let server = server().await;
    host(&server).await.ready().await;
    let other = Nats {
        max_ack_pending: 77,
        ..impatient(&server.url())
    };
    host_with(other, spec()).await.ready().await;
    let stream = server.jetstream().await.get_stream(STREAM).await;
    let info = stream.expect("a stream").consumer_info("billing").await;
    let config = info.expect("there").config;
    assert_eq!((config.max_ack_pending, config.ack_wait.as_secs()), (77, 2));
    assert_eq!(config.max_deliver, -1);
}

/// A certificate for 127.0.0.1 and the one that vouches for it, in `folder`.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(vec![]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("signed");
    let write =
        |name: &str, text: String| std::fs::write(folder.join(name), text).expect("written");
    write("ca.pem", authority.pem());
    write("cert.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_where_the_authority_is_known() {
    let (ours, others) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    certificates(ours.path());
    certificates(others.path());
    let at = |name: &str| ours.path().join(name);
    let block = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        at("cert.pem"),
        at("key.pem"),
        at("ca.pem"),
    );
    let server = NatsServer::start_with(&block).await;
    let url = server.url().replace("nats://", "tls://");
    let with = |tls: Tls| Nats {
        tls,
        ..config(&url)
    };
    let good = Tls {
        ca: Some(at("ca.pem")),
        certificate: Some(at("cert.pem")),
        key: Some(at("key.pem")),
        first: false,
    };
    host_with(with(good.clone()), subject("a", "billing"))
        .await
        .ready()
        .await;

    let stranger = Tls {
        ca: Some(others.path().join("ca.pem")),
        ..good.clone()
    };
    let host = host_with(with(stranger), subject("a", "billing")).await;
    host.says("invalid peer certificate").await;

    let nobody = Tls {
        certificate: None,
        key: None,
        ..good
    };
    let host = host_with(with(nobody), subject("a", "billing")).await;
    // The server closes the connection, in words of TLS or none.
    host.says("127.0.0.1").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_ne!(host.broker.health(), Health::Ready);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_at_once() {
    let broken = Nats {
        credentials: Some("/nowhere/bus.creds".into()),
        ..config("nats://127.0.0.1:4222")
    };
    let problem = NatsBroker::open("bus", &broken).err().expect("refused");
    assert!(
        problem.to_string().contains("/nowhere/bus.creds"),
        "{problem}"
    );
}
