//! A disk that is really full: a small file system of its own under the embedded file.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wharf_tests::host::{Place, eventually};

use super::client::{Client, LETTERS, PATIENCE, message, puppet};
use super::count::{Fate, Work};

/// A file system in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf, options: &str) -> Self {
        std::fs::create_dir(&path).expect("a folder");
        mount(&path, options);
        Self(path)
    }

    fn grow(&self, size: &str) {
        mount(&self.0, &format!("remount,size={size}"));
    }
}

fn mount(path: &Path, options: &str) {
    let done = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(path)
        .status();
    let done = done.expect("the program `mount`");
    assert!(
        done.success(),
        "a small file system is needed: run the tests as root, or in a user namespace (unshare --map-root-user --mount)"
    );
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the host that has files open there may be on its way out.
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|s| s.success()) || std::thread::panicking());
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_accepted_is_lost() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let mount = Mount::new(place.path("small"), "size=6m");
    place.configure(&puppet("").replace("wharf.db", "small/wharf.db"));
    let client = Client::embedded(&place.path("small/wharf.db"));
    let host = place.run().await;

    // Outputs stay, so the disk fills with them; messages are published until one is refused.
    let mut work = Work::default();
    let refused = loop {
        let i = work.messages.len();
        assert!(i < 2_000, "the disk never filled");
        let message = message(format!("m-{i}"), vec![b'x'; 16 << 10]);
        match client
            .try_publish("in", vec![message.clone()])
            .await
            .remove(0)
        {
            Ok(()) => work.add(message, Fate::Output),
            Err(refused) => break refused,
        }
    };
    assert!(refused.to_string().contains("disk is full"), "{refused}");
    assert!(work.messages.len() > 50, "there was room at first");
    assert_eq!(host.get("/livez").await.0, 200);

    // Held without room, it says so; whichever of both parts still finds a free page may go on a little.
    let waits = client.left("in", "p").await > 0;
    if waits {
        eventually("it says so", PATIENCE, async || {
            let (status, body) = host.get("/readyz").await;
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let full = body.to_string().contains("disk is full");
            ((status == 503 && full) || client.left("in", "p").await == 0).then_some(())
        })
        .await;
    }
    mount.grow("64m");
    let late = message("late", "there is room again");
    work.add(late.clone(), Fate::Output);
    eventually("publishing works again", PATIENCE, async || {
        let result = client.try_publish("in", vec![late.clone()]).await.remove(0);
        result.is_ok().then_some(())
    })
    .await;
    client.until_done("in", "p").await;
    work.check(&client.items("out").await, &client.items(LETTERS).await);
    eventually("ready again", PATIENCE, async || {
        (host.get("/readyz").await.0 == 200).then_some(())
    })
    .await;
}
