//! What a plugin starts with when its component is refused.

use wharf::handler::FaultKind;
use wharf::plugin::settings::OnComponentError;
use wharf_tests::plugins::{Host, engine, message, settings, until};

use super::{COMPILER, digest, put};

#[test]
fn the_last_version_that_worked_is_used_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let code = folder.path().join("code");
    let component = folder.path().join("handler.wasm");
    put("identity", &component);
    let mut settings = settings("p", &component);
    settings.on_component_error = OnComponentError::LastGood;
    let start = || Host::start_with(engine(), &code, COMPILER);
    let good = digest(&start().try_add(settings.clone()).expect("a plugin"));
    put("wrong-export", &component);
    let host = start();
    let plugin = host.try_add(settings.clone()).expect("the last good one");
    assert_eq!(digest(&plugin), good);
    host.call(&plugin, message("x")).result.expect("handled");
    // Another plugin has no past to fall back on.
    settings.name = "q".into();
    let error = host.try_add(settings).err().expect("refused");
    assert!(error.to_string().contains("does not export"), "{error}");
}

#[test]
fn a_skipped_plugin_waits_for_its_component() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("handler.wasm");
    let mut settings = settings("p", &component);
    settings.on_component_error = OnComponentError::Skip;
    let host = Host::start(COMPILER);
    let plugin = host.try_add(settings).expect("no version yet");
    let fault = host
        .call(&plugin, message("x"))
        .result
        .expect_err("not run");
    assert_eq!(fault.kind, FaultKind::NotRun);
    let watching = host.runtime.handle().enter();
    let _watcher = wharf::plugin::Watcher::start(&host.catalog);
    drop(watching);
    put("identity", &component);
    until("a version", || plugin.status().version);
    host.call(&plugin, message("x")).result.expect("handled");
}
