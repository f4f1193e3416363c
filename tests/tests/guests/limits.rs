//! Bounds that are not a fault of one call: logs, the guest budget, places in the pool.

use std::sync::Arc;

use serde_json::json;
use wharf::config::ByteSize;
use wharf::handler::{FaultKind, Handler};
use wharf_tests::guests::target;
use wharf_tests::plugins::{ATTEMPT, Host, engine, until};

use super::{COMPILER, host, order, outputs};

#[test]
fn logs_are_bounded_per_message_and_per_second() {
    let dropped = "wharf_guest_log_lines_dropped_total{plugin=\"puppet\"}";
    for (bytes, rate) in [(ByteSize::bytes(400), 1_000_000), (ByteSize::mib(64), 10)] {
        let host = host();
        let plugin = host.add("puppet", |settings| {
            settings.limits.log = bytes;
            settings.limits.log_rate = rate;
        });
        outputs(host.call(
            &plugin,
            order(json!({"do": "log", "lines": 5000, "bytes": 40})),
        ));
        let lost = host.metric(dropped).expect("the metric");
        assert!((4900.0..=4990.0).contains(&lost), "{bytes} {rate}: {lost}");
    }
}

#[test]
fn the_last_lines_of_stderr_survive_a_flood() {
    let host = host();
    let plugin = host.add("puppet", |settings| {
        settings.limits.log = ByteSize::bytes(10)
    });
    outputs(host.call(
        &plugin,
        order(json!({"do": "log", "lines": 5000, "bytes": 40})),
    ));
    let fault = host
        .call(
            &plugin,
            order(json!({"do": "panic", "text": "after the flood"})),
        )
        .result
        .expect_err("a panic");
    assert!(
        fault.message.contains("after the flood"),
        "{}",
        fault.message
    );
    assert!(fault.stderr.len() <= 20);
}

#[test]
fn all_guests_together_stay_within_the_budget() {
    let host = Host::start_with(
        wharf::plugin::EngineSettings {
            guest_budget: 64 << 20,
            ..engine()
        },
        &target().join("tmp/code"),
        COMPILER,
    );
    let grow = || order(json!({"do": "grow", "bytes": 24 << 20}));
    let one = host.add("puppet", |_| {});
    let other = host.add("puppet", |settings| settings.name = "other".into());
    outputs(host.call(&one, grow()));
    let (held, budget) = host.runtime.engine().memory();
    assert!(held > 24 << 20 && budget == 64 << 20);
    let fault = host
        .call(&other, order(json!({"do": "grow", "bytes": 50 << 20})))
        .result
        .expect_err("no room");
    assert_eq!(fault.kind, FaultKind::NotRun, "{fault:?}");
    assert!(
        fault.message.contains("guest budget of 64 MiB"),
        "{}",
        fault.message
    );
    // More than all of it is the guest's own fault, whoever else runs.
    let fault = host
        .call(&other, order(json!({"do": "grow", "bytes": 70 << 20})))
        .result
        .expect_err("never any room");
    assert_eq!(fault.kind, FaultKind::Memory, "{fault:?}");
    assert!(host.runtime.engine().memory().0 <= budget);
}

#[test]
fn calls_wait_for_a_place_in_a_small_pool_and_idle_instances_make_room() {
    let host = Host::start_with(
        wharf::plugin::EngineSettings {
            instances: 1,
            ..engine()
        },
        &target().join("tmp/code"),
        COMPILER,
    );
    // One place and two for probes: five plugins cannot all keep an instance.
    let plugins: Vec<_> = (0..5)
        .map(|n| {
            host.add("noop", |settings| {
                settings.name = format!("p{n}").as_str().into()
            })
        })
        .collect();
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let plugin = Arc::clone(&plugins[n % 5]);
            host.runtime
                .handle()
                .spawn(async move { plugin.handle(&super::message(""), ATTEMPT).await })
        })
        .collect();
    for call in calls {
        outputs(host.runtime.handle().block_on(call).expect("no panic"));
    }
    let live = || plugins.iter().map(|p| p.status().instances).sum::<i64>();
    until("no more than three live", || (live() <= 3).then_some(()));
}
