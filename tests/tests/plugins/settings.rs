//! What becomes of a plugin whose settings are absent or wrong: `plugins/README.md`, "Settings".

use wharf_tests::host::eventually;

use crate::RUN;
use crate::shipped::{PATIENCE, Shipped};

/// The configuration without its grants.
fn ungranted(config: &str) -> String {
    let (before, grants) = config.split_once("    grants:\n").unwrap();
    let after = grants.lines().skip_while(|line| line.starts_with("      "));
    let after: Vec<&str> = after.collect();
    format!("{before}{}\n", after.join("\n"))
}

#[tokio::test]
async fn without_any_setting_the_host_does_not_start() {
    for name in RUN {
        let plugin = Shipped::changed(name, ungranted);
        let (code, said) = plugin.place.refused().await;
        assert_eq!(code, Some(78), "{name}: {said}");
        let wanted = "imports `wasi:config/store@0.2.0-rc.1`: grant it with `grants: { config:";
        assert!(said.contains(wanted), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_misspelt_setting_loses_nothing_and_is_named() {
    let right = Shipped::new("audit-log").readme("yaml");
    let wrong = right.replace("headers: tenant", "haeders: tenant");
    assert_ne!(wrong, right);
    let plugin = Shipped::changed("audit-log", |_| wrong);
    let mut host = plugin.place.run().await;
    plugin.run(&["publish", "--to", "audit/logins", "--payload", "{}"]);
    let line = eventually("the log says why", PATIENCE, async || {
        let mut lines = host.lines().into_iter();
        lines.find(|line| line["message"] == "will be tried again")
    })
    .await;
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("no such setting: `haeders`"), "{reason}");
    assert_eq!(line["attempts"], 0, "nothing is charged");
    host.signal("TERM");
    assert!(host.exit(PATIENCE).await.success());
    assert!(plugin.dead().is_empty() && plugin.lying("local", "audit.trail").is_empty());

    plugin.configure(&right);
    let _host = plugin.place.run().await;
    eventually("the message is handled after all", PATIENCE, async || {
        (plugin.lying("local", "audit.trail").len() == 1).then_some(())
    })
    .await;
}
