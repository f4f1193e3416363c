//! A disk that is really full: a small file system of its own under the embedded file.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wharf_tests::count::{Fate, Work};
use wharf_tests::host::{Place, eventually};

use super::client::{Client, LETTERS, PATIENCE, message, puppet};

/// Set in the process that runs this test again.
const AGAIN: &str = "WHARF_TESTS_IN_NAMESPACE";

/// A file system in memory, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this process may not mount.
    fn new(path: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&path).expect("a folder");
        let mounted = mount(&path, &format!("size={size}"));
        // Not `then_some`: one that is made and dropped would unmount.
        mounted.then(|| Self(path))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&self.0, &format!("remount,size={size}")), "remounted");
    }
}

fn mount(path: &Path, options: &str) -> bool {
    let done = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(path)
        .status();
    done.expect("the program `mount`").success()
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the host that has files open there may be on its way out.
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|s| s.success()) || std::thread::panicking());
    }
}

/// Runs this test again in a user namespace of its own, where whoever runs it may mount.
fn again_in_a_namespace() {
    assert!(
        std::env::var_os(AGAIN).is_none(),
        "mounting fails even in a user namespace of our own"
    );
    let done = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().expect("a test knows its own path"))
        .args([
            "--exact",
            "disk::a_full_disk_is_said_and_nothing_accepted_is_lost",
            "--nocapture",
        ])
        .env(AGAIN, "1")
        .output();
    let done = done.expect("the program `unshare`: apt-get install util-linux");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "a small file system is needed: run this as root, or where user namespaces are allowed.\n{said}"
    );
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_accepted_is_lost() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let Some(mount) = Mount::new(place.path("small"), "6m") else {
        return again_in_a_namespace();
    };
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
