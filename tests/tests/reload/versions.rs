//! What a swap does to calls, and what becomes of the versions.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use wharf::handler::Handler;
use wharf::plugin::{Error, Swapped};
use wharf_tests::guests::guest;
use wharf_tests::plugins::{ATTEMPT, Host, message, settings, until};

use super::{COMPILER, Calls, Watched, digest, put};

#[test]
fn a_call_in_flight_finishes_on_the_version_it_began_with() {
    let host = Host::start(COMPILER);
    let plugin = host
        .try_add(settings("p", guest("puppet")))
        .expect("a plugin");
    let old = digest(&plugin);
    let slow = {
        let plugin = Arc::clone(&plugin);
        let order = message("{\"do\": \"sleep\", \"ms\": 700}");
        host.runtime
            .handle()
            .spawn(async move { plugin.handle(&order, ATTEMPT).await })
    };
    until("it runs", || (plugin.status().instances == 1).then_some(()));
    let catalog = Arc::clone(&host.catalog);
    let swapped = host.run(async move { catalog.swap("p", Some(guest("identity"))).await });
    let Ok(Swapped::To(new)) = swapped else {
        panic!("{swapped:?}");
    };
    assert!(!slow.is_finished(), "swapped while it ran");
    assert_eq!(*host.call(&plugin, message("now")).version, *new);
    let status = plugin.status();
    assert_eq!(status.instances, 2, "one of each");
    assert_eq!(status.version.map(|version| version.instances), Some(1));
    let handled = host.runtime.handle().block_on(slow).expect("no panic");
    handled.result.expect("handled");
    assert_eq!(*handled.version, *old);
    assert_eq!(
        plugin.status().instances,
        1,
        "the old version's instance went with its call"
    );
}

#[test]
fn a_bad_version_changes_nothing_and_a_later_good_one_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("handler.wasm");
    put("identity", &component);
    let watched = Watched::start(&component);
    let old = watched.digest();
    let calls = Calls::start(&watched);
    let bad = [
        "not-a-component",
        "wrong-export",
        "needs-http",
        "probe-trap",
    ];
    for (refused, name) in (1..).zip(bad) {
        put(name, &component);
        until(name, || (watched.swaps("refused") == refused).then_some(()));
        assert_eq!(watched.digest(), old, "{name}");
    }
    fs::write(&component, "rubbish").expect("written");
    until("rubbish", || (watched.swaps("refused") == 5).then_some(()));
    put("puppet", &component);
    let new = watched.swapped_from(&old);
    for versions in calls.stop(&watched.host) {
        let last = versions.last().expect("at least one call");
        assert_eq!(versions[0], old);
        assert!(*last == old || *last == new);
    }
}

#[test]
fn a_refusal_says_why_and_is_tried_once() {
    let host = Host::start(COMPILER);
    let plugin = host
        .try_add(settings("p", guest("noop")))
        .expect("a plugin");
    let swap = |path| {
        let catalog = Arc::clone(&host.catalog);
        host.run(async move { catalog.swap("p", Some(path)).await })
    };
    let error = swap(guest("wrong-export")).expect_err("refused");
    assert!(matches!(error, Error::NoHandler { .. }), "{error}");
    assert_eq!(
        swap(guest("noop")).expect("the same"),
        Swapped::Unchanged(digest(&plugin).as_str().into())
    );
    let catalog = Arc::clone(&host.catalog);
    let unknown = host.run(async move { catalog.swap("q", None).await });
    assert!(matches!(unknown, Err(Error::NoPlugin(_))));
}

#[test]
fn a_hundred_swaps_under_calls_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("handler.wasm");
    put("identity", &component);
    let watched = Watched::start(&component);
    let calls = Calls::start(&watched);
    for n in 0..100 {
        let catalog = Arc::clone(&watched.host.catalog);
        let path = guest(["puppet", "identity"][n % 2]);
        let swapped = watched
            .host
            .run(async move { catalog.swap("p", Some(path)).await });
        assert!(matches!(swapped, Ok(Swapped::To(_))), "{swapped:?}");
    }
    let seen = calls.stop(&watched.host);
    assert!(
        seen.iter().all(|versions| versions.len() > 10),
        "calls on many versions"
    );
    let status = watched.plugin.status();
    let own = status.version.expect("a version").instances;
    assert_eq!(
        i64::try_from(own),
        Ok(status.instances),
        "no instance of an old version"
    );
    let limit = 2 * (4 << 20);
    assert!(
        watched.host.runtime.engine().memory().0 <= limit,
        "no memory of an old version"
    );
}

#[test]
fn everything_is_loaded_again_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("handler.wasm");
    put("identity", &component);
    let host = Host::start(COMPILER);
    let mut settings = settings("p", &component);
    settings.reload = false;
    let plugin = host.try_add(settings).expect("a plugin");
    let watching = host.runtime.handle().enter();
    let _watcher = wharf::plugin::Watcher::start(&host.catalog);
    drop(watching);
    let old = digest(&plugin);
    put("puppet", &component);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(digest(&plugin), old, "not watched");
    let catalog = Arc::clone(&host.catalog);
    host.run(async move { catalog.reload_all().await });
    assert_ne!(digest(&plugin), old);
}
