//! One plugin's endless loop is its own trouble: neighbours answer, the host stops.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wharf::handler::{FaultKind, Handler};
use wharf::plugin::PluginHandle;
use wharf_tests::plugins::{ATTEMPT, Host, until};

use super::{host, order};

/// Two plugins whose every instance spins, until the answer is aborted.
fn spinners(host: &Host, each: u32) -> Vec<tokio::task::JoinHandle<wharf::handler::Handled>> {
    let mut calls = Vec::new();
    for name in ["first", "second"] {
        let plugin = host.add("puppet", |settings| {
            settings.name = name.into();
            settings.instances = each;
            settings.limits.deadline = Duration::from_secs(60);
        });
        for _ in 0..each {
            let running = Arc::clone(&plugin);
            calls.push(host.runtime.handle().spawn(async move {
                running.handle(&order(json!({"do": "spin"})), ATTEMPT).await
            }));
        }
        until("all spin", || {
            (plugin.status().instances == i64::from(each)).then_some(())
        });
    }
    calls
}

fn latencies(host: &Host, plugin: &Arc<PluginHandle>, calls: usize) -> Vec<Duration> {
    let plugin = Arc::clone(plugin);
    host.run(async move {
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let start = Instant::now();
            plugin
                .handle(&super::message(""), ATTEMPT)
                .await
                .result
                .expect("handled");
            took.push(start.elapsed());
            tokio::task::yield_now().await;
        }
        took.sort_unstable();
        took
    })
}

#[test]
fn short_calls_answer_while_two_other_plugins_spin() {
    let host = host();
    let quick = host.add("noop", |_| {});
    let calls = spinners(&host, 3);
    let took = latencies(&host, &quick, 500);
    // A queue behind the spinners would show in the median, a millisecond for each of them.
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("median {median:?}, p99 {p99:?}");
    assert!(median < Duration::from_millis(1), "median {median:?}");
    assert!(
        p99 < Duration::from_millis(25),
        "p99 {p99:?}, worst {:?}",
        took[took.len() - 1]
    );
    assert!(
        calls.iter().all(|call| !call.is_finished()),
        "they spun all the while"
    );
    for call in &calls {
        call.abort();
    }
}

#[test]
fn waiting_for_a_turn_is_not_charged_to_the_deadline() {
    let host = host();
    let calls = spinners(&host, 3);
    let plugin = host.add("puppet", |settings| {
        settings.limits.deadline = Duration::from_millis(400)
    });
    // One turn among three plugins: 200 ms of work take some 600 ms.
    let start = Instant::now();
    let handled = host.call(&plugin, order(json!({"do": "burn", "ms": 150})));
    let took = start.elapsed();
    for call in &calls {
        call.abort();
    }
    handled.result.expect("within its deadline");
    assert!(took >= Duration::from_millis(150), "{took:?}");
    let start = Instant::now();
    let fault = host
        .call(&plugin, order(json!({"do": "spin"})))
        .result
        .expect_err("a deadline");
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_endless_loop_does_not_keep_the_host_from_stopping() {
    let host = host();
    let calls = spinners(&host, 2);
    let start = Instant::now();
    drop(host);
    until("the calls are gone", || {
        calls
            .iter()
            .all(tokio::task::JoinHandle::is_finished)
            .then_some(())
    });
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}
