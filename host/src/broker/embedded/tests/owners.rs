//! One owner, many clients, and files that are not ours.

use std::process::{Command, Stdio};

use super::support::*;
use crate::broker::embedded::{Embedded, Error};
use crate::config;
use crate::delivery::Inbox;
use crate::ports::{Broker as _, BrokerError};

const FILE: &str = "WHARF_TEST_EMBEDDED_FILE";

/// This test binary again, running one ignored test as a process of its own.
pub(super) fn child(test: &str, place: &Place) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg(format!("broker::embedded::tests::{test}"))
        .env(FILE, place.path())
        .stdout(Stdio::piped());
    command
}

/// The options a child was given, `None` where the test is not run as one.
pub(super) fn given() -> Option<config::Embedded> {
    std::env::var_os(FILE).map(config::Embedded::new)
}

#[tokio::test]
async fn a_second_owner_is_refused_and_told_who_has_it() {
    let place = Place::new();
    let first = place.owner();
    let second = Embedded::open_owner("events", &place.options())
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(&second, Error::Owned { pid, .. } if *pid == std::process::id().to_string()),
        "{second}"
    );
    first.close().await;
    place.owner().close().await;
}

#[tokio::test]
async fn a_client_publishes_and_does_not_consume() {
    let place = Place::new();
    let client = place.client();
    publish_texts(&client, "in", &["before the first owner"]).await;
    let owner = place.owner();
    let mut reading = Reading::open(&owner, spec("in", "g")).await;
    assert_eq!(reading.fetch(9).await.len(), 1);
    let refused = client
        .subscribe(spec("in", "g"), Inbox::new())
        .await
        .map(drop);
    assert!(
        matches!(refused, Err(BrokerError::Refused(_))),
        "{refused:?}"
    );
}

#[test]
#[ignore = "run as a process of its own by the next test"]
fn child_publishes() {
    let Some(options) = given() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = Embedded::open_client("events", &options).unwrap();
        for i in 0..50 {
            publish_texts(&client, "in", &[&i.to_string()]).await;
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        client.close().await;
    });
}

#[tokio::test]
async fn another_process_publishes_while_the_owner_reads_and_writes() {
    let place = Place::new();
    let owner = place.owner();
    let mut reading = Reading::open(&owner, spec("in", "g")).await;
    let mut process = child("owners::child_publishes", &place).spawn().unwrap();
    let mut found = Vec::new();
    while found.len() < 100 {
        // The owner's own writing must not hide the other's, nor take its sequences.
        if found.len() < 100 && owner.last_seq("own").await.unwrap() < 50 {
            publish_texts(&owner, "in", &["own"]).await;
            publish_texts(&owner, "own", &["count"]).await;
        }
        found.extend(reading.fetch(9).await);
    }
    assert!(process.wait().unwrap().success());
    let theirs: Vec<_> = payloads(&found)
        .into_iter()
        .filter(|p| p != "own")
        .collect();
    assert_eq!(theirs, (0..50).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_another_process_wrote_is_seen_by_an_idle_owner() {
    let place = Place::new();
    let owner = place.owner();
    let client = place.client();
    let mut reading = Reading::open(&owner, spec("in", "g")).await;
    // The fetch has looked, found nothing and waits when the other one writes.
    let (found, ()) = tokio::join!(reading.fetch(1), async {
        tokio::time::sleep(NEVER).await;
        publish_texts(&client, "in", &["a"]).await;
    });
    assert_eq!(payloads(&found), ["a"]);
}

fn refusal(path: &std::path::Path) -> Error {
    Embedded::open_owner("events", &config::Embedded::new(path))
        .map(drop)
        .unwrap_err()
}

#[test]
fn other_programs_files_are_left_alone() {
    let place = Place::new();
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = std::fs::read(place.path()).unwrap();
    assert!(matches!(refusal(&place.path()), Error::Foreign { .. }));
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
    std::fs::write(
        place.path(),
        "a text that is longer than a database's header, and is none\n".repeat(9),
    )
    .unwrap();
    let error = refusal(&place.path());
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::new();
    place.owner().close().await;
    let newer = rusqlite::Connection::open(place.path()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = refusal(&place.path());
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up_to_date() {
    let place = Place::new();
    let broker = place.owner();
    publish_texts(&broker, "in", &["a"]).await;
    broker.close().await;
    drop(broker);
    let old = rusqlite::Connection::open(place.path()).unwrap();
    old.execute_batch("ALTER TABLE pending DROP COLUMN first_failed_ms; PRAGMA user_version = 1")
        .unwrap();
    drop(old);
    let broker = place.owner_again().await;
    let mut reading = Reading::open(&broker, spec("in", "g")).await;
    let found = reading.fetch(1).await;
    reading.release(&found[0], None, 1).await;
    assert_eq!(reading.fetch(1).await[0].message.attempts, 1);
}

#[tokio::test]
async fn a_missing_folder_is_made_and_an_impossible_one_is_named() {
    let place = Place::new();
    let deep = place.path().with_file_name("a").join("b").join("events.db");
    let broker = Embedded::open_owner("events", &config::Embedded::new(&deep)).unwrap();
    publish_texts(&broker, "in", &["a"]).await;
    broker.close().await;
    assert!(deep.exists());
    // A file where the folder should be.
    let error = refusal(&deep.join("events.db"));
    assert!(
        matches!(&error, Error::Folder { path, .. } if path.starts_with(&deep)),
        "{error}"
    );
    // A folder in which nothing can be made, not even by a superuser.
    let error = refusal(std::path::Path::new("/proc/events.db"));
    assert!(matches!(error, Error::Folder { .. }), "{error}");
}
