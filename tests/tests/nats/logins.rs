//! Logins by key: an nkey, and a file of credentials as `nsc` makes them.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use wharf::config::Secret;
use wharf::config::nats::Nats;
use wharf::ports::Broker as _;
use wharf_tests::nats_server::NatsServer;

use crate::support::*;

fn seed(key: &KeyPair) -> String {
    key.seed().expect("a key of our own")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_nkey_lets_in() {
    let (ada, other) = (KeyPair::new_user(), KeyPair::new_user());
    let users = format!(
        "authorization {{ users: [{{ nkey: {} }}] }}",
        ada.public_key()
    );
    let server = NatsServer::start_with(&users).await;
    let with = |key: &KeyPair| Nats {
        nkey: Some(Secret::new(seed(key))),
        ..config(&server.url())
    };
    let refused = host_with(with(&other), subject("a", "billing")).await;
    refused.says("authorization violation").await;
    assert!(!format!("{:?}", refused.broker.health()).contains(&seed(&other)));
    let taken = host_with(with(&ada), subject("a", "billing")).await;
    taken.ready().await;
}

/// What `issuer` says of `subject`, signed: <https://docs.nats.io/running-a-nats-service/nats_admin/security/jwt>.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": "0", "iat": 1_700_000_000, "name": "wharf", "iss": issuer.public_key(), "sub": subject.public_key(),
        "nats": nats,
    });
    let said = format!("{}.{}", part(&head), part(&claims));
    let signature = issuer.sign(said.as_bytes()).expect("signed");
    format!("{said}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_credentials_lets_in() {
    let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
    // The server itself needs one for JetStream.
    let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
    let any = json!({ "subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1,
        "wildcards": true });
    let of_operator = token(
        &operator,
        &operator,
        &json!({ "type": "operator", "version": 2 }),
    );
    let account_may = json!({ "type": "account", "version": 2, "limits": any });
    let of = |account: &KeyPair| token(&operator, account, &account_may);
    let accounts = [&account, &system].map(|a| format!("{}: {}", a.public_key(), of(a)));
    let user_may = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let of_user = token(&account, &user, &user_may);
    let server = NatsServer::start_with(&format!(
        "operator: {of_operator}\nresolver: MEMORY\nsystem_account: {}\nresolver_preload: {{ {} }}",
        system.public_key(),
        accounts.join(", ")
    ))
    .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ada.creds");
    let with = |token: &str, seed: &str| {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&file, text).expect("written");
        Nats {
            credentials: Some(file.clone()),
            ..config(&server.url())
        }
    };
    // Whoever has the token and not the key is nobody.
    let stolen = with(&of_user, &seed(&KeyPair::new_user()));
    let refused = host_with(stolen, subject("a", "billing")).await;
    refused.says("authorization violation").await;
    let own = with(&of_user, &seed(&user));
    let taken = host_with(own, subject("a", "billing")).await;
    taken.ready().await;
}
