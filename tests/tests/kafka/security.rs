//! Encryption and passwords: what is right works, what is wrong is said in the words of whoever refused, with what to change,
//! and without the secret.

use std::sync::Arc;

use wharf::config::Secret;
use wharf::config::kafka::{Kafka, Mechanism, Security, SecurityProtocol};
use wharf_tests::certificates::Certificates;
use wharf_tests::kafka_server::{KafkaServer, PASSWORD, USER};

use crate::ground::Ground;
use crate::support::*;

fn kafka(port: u16, security: Security) -> Kafka {
    Kafka {
        security,
        ..Kafka::new(format!("127.0.0.1:{port}"))
    }
}

/// A host that is set up like this is told all of these words, and never lets anything through.
async fn refused(ground: &Ground, kafka: &Kafka, words: &[&str]) {
    let host = host_of(kafka, ground.spec()).await;
    let said = host.says(words).await;
    println!("{said}");
    for secret in [PASSWORD, "wrong-one"] {
        assert!(!said.contains(secret), "{said}");
    }
    host.stop().await;
}

/// It publishes, reads and settles.
async fn works(ground: &Ground, kafka: &Kafka) {
    let mut host = host_of(kafka, ground.spec()).await;
    ground.fill(&host.broker, 0..3).await;
    let three = host.take(3).await;
    host.accept(three).await;
    host.is_member().await;
    host.stop().await;
    assert_eq!(ground.lag().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_right_work_and_those_that_are_wrong_are_named() {
    let ours = Certificates::new("127.0.0.1", &["server", "client"]);
    let others = Certificates::new("127.0.0.1", &["client"]);
    let mut server = KafkaServer::absent(&[]);
    let (tls, mutual) = (
        server.listen_with_tls(&ours, false),
        server.listen_with_tls(&ours, true),
    );
    server.run().await;
    let ground = Ground::at(Arc::new(server), "certified", 1).await;
    let anybody = Security {
        protocol: SecurityProtocol::Ssl,
        ca: Some(ours.path("ca.pem")),
        ..Security::default()
    };
    let with = |of: &Certificates| Security {
        certificate: Some(of.path("client.pem")),
        key: Some(of.path("client.key")),
        ..anybody.clone()
    };
    works(&ground, &kafka(tls, anybody.clone())).await;
    works(&ground, &kafka(mutual, with(&ours))).await;

    let stranger = Security {
        ca: Some(others.path("ca.pem")),
        ..anybody.clone()
    };
    refused(
        &ground,
        &kafka(tls, stranger),
        &["certificate verify failed", "`ca`"],
    )
    .await;
    refused(
        &ground,
        &kafka(mutual, anybody.clone()),
        &["alert bad certificate", "`certificate`"],
    )
    .await;
    refused(
        &ground,
        &kafka(mutual, with(&others)),
        &["alert", "`certificate`"],
    )
    .await;
    refused(
        &ground,
        &kafka(tls, Security::default()),
        &["`security.protocol`"],
    )
    .await;
    refused(
        &ground,
        &kafka(ground.server.port(), anybody),
        &["`security"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_server_is_named() {
    let ours = Certificates::new("elsewhere.example", &["server"]);
    let mut server = KafkaServer::absent(&[]);
    let tls = server.listen_with_tls(&ours, false);
    server.run().await;
    let ground = Ground::at(Arc::new(server), "elsewhere", 1).await;
    let security = Security {
        protocol: SecurityProtocol::Ssl,
        ca: Some(ours.path("ca.pem")),
        ..Security::default()
    };
    refused(
        &ground,
        &kafka(tls, security),
        &["certificate verify failed", "`security`"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_are_right_work_and_those_that_are_wrong_are_said() {
    let mut server = KafkaServer::absent(&[]);
    let (plain, scram) = (server.listen_with_password(), server.listen_with_scram());
    server.run().await;
    let ground = Ground::at(Arc::new(server), "secret", 1).await;
    let with = |mechanism, password: &str| Security {
        protocol: SecurityProtocol::SaslPlaintext,
        mechanism: Some(mechanism),
        username: Some(USER.into()),
        password: Some(Secret::new(password)),
        ..Security::default()
    };
    for (port, mechanism) in [
        (plain, Mechanism::Plain),
        (scram, Mechanism::ScramSha256),
        (scram, Mechanism::ScramSha512),
    ] {
        works(&ground, &kafka(port, with(mechanism, PASSWORD))).await;
        let wrong = kafka(port, with(mechanism, "wrong-one"));
        refused(&ground, &wrong, &["uthentication failed", "`security`"]).await;
    }
    let other = kafka(plain, with(Mechanism::ScramSha512, PASSWORD));
    refused(&ground, &other, &["PLAIN", "`security`", "mechanism"]).await;
    let nobody = kafka(plain, Security::default());
    refused(&ground, &nobody, &["`security.protocol`"]).await;
}
