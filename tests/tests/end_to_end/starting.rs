//! A host is asked things, and asked to stop, while it is busy with its components.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use wharf_tests::count::Work;
use wharf_tests::host::{Host, Place};

use super::client::{Client, puppet};

/// A component that can be opened, and whose reading takes for as long as what is answered is kept.
fn endless(place: &Place) -> File {
    let path = place.path("puppet.wasm");
    drop(std::fs::remove_file(&path));
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo").success());
    let both = File::options().read(true).write(true).open(&path);
    both.expect("a pipe")
}

/// At once, and as asked.
async fn stops(mut host: Host) {
    host.signal("TERM");
    let status = host.exit(Duration::from_secs(10)).await;
    assert!(status.success(), "{status}: {}", host.said());
}

#[tokio::test]
async fn a_host_that_is_still_starting_is_alive_and_not_ready_and_stops_when_asked() {
    let place = Place::new();
    let _open = endless(&place);
    place.configure(&puppet(""));
    let mut host = place.spawn();
    host.says("starting").await;
    assert_eq!(host.get("/livez").await.0, 200);
    let (status, said) = host.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(said.contains("the host is starting"), "{said}");
    assert_eq!(host.get("/metrics").await.0, 503);
    stops(host).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_reload() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(&puppet("    reload: false\n"));
    let client = Client::embedded(&place.path("wharf.db"));
    let mut host = place.run().await;
    let _open = endless(&place);
    host.signal("HUP");
    host.says("reload asked for").await;
    // The version before it goes on.
    let work = Work::plain("m", 20);
    client.publish("in", work.messages.clone()).await;
    client.until_done("in", "p").await;
    work.check(&client.items("out").await, &[]);
    stops(host).await;
}
