//! What a guest can see and what it can keep: nothing it was not granted.

use std::time::Duration;

use serde_json::{Value, json};
use wharf::plugin::settings::Isolation;
use wharf_tests::plugins::until;

use super::{answer, host, order, outputs};

#[test]
fn a_guest_sees_no_environment_no_files_and_no_network() {
    let host = host();
    let plugin = host.add("puppet", |_| {});
    let seen = answer(host.call(&plugin, order(json!({"do": "probe"}))));
    assert_eq!((&seen["args"], &seen["env"]), (&json!([]), &json!([])));
    for kind in ["fs", "net"] {
        let tried = seen[kind].as_object().expect("what was tried");
        assert!(tried.len() >= 4, "{kind}: {tried:?}");
        for (what, result) in tried {
            assert!(result.get("denied").is_some(), "{what}: {result}");
        }
    }
}

#[test]
fn a_fresh_instance_per_message_remembers_nothing() {
    let host = host();
    for (isolation, remembered) in [
        (Isolation::Message, Value::Null),
        (Isolation::Instance, json!("secret")),
    ] {
        let plugin = host.add("puppet", |settings| settings.isolation = isolation);
        outputs(host.call(&plugin, order(json!({"do": "remember", "text": "secret"}))));
        let recalled = answer(host.call(&plugin, order(json!({"do": "recall"}))));
        assert_eq!(recalled, remembered, "{isolation:?}");
    }
}

#[test]
fn plugins_of_one_component_share_nothing() {
    let host = host();
    let one = host.add("puppet", |_| {});
    let other = host.add("puppet", |settings| settings.name = "other".into());
    outputs(host.call(&one, order(json!({"do": "remember", "text": "secret"}))));
    assert_eq!(
        answer(host.call(&other, order(json!({"do": "recall"})))),
        Value::Null
    );
}

#[test]
fn an_instance_is_replaced_after_about_so_many_messages() {
    let host = host();
    let plugin = host.add("puppet", |settings| {
        settings.recycle.messages = 8;
        settings.instances = 1;
    });
    outputs(host.call(&plugin, order(json!({"do": "remember", "text": "x"}))));
    let mut handled = 1;
    while answer(host.call(&plugin, order(json!({"do": "recall"})))) != Value::Null {
        handled += 1;
        assert!(handled <= 10, "8 and a quarter");
    }
    assert!(handled >= 6, "8 less a quarter: {handled}");
}

#[test]
fn an_instance_that_grew_past_half_its_limit_is_replaced() {
    let host = host();
    let plugin = host.add("puppet", |_| {});
    outputs(host.call(&plugin, order(json!({"do": "grow", "bytes": 20 << 20}))));
    assert_eq!(plugin.status().instances, 1);
    assert!(plugin.status().memory > 20 << 20);
    outputs(host.call(&plugin, order(json!({"do": "grow", "bytes": 70 << 20}))));
    assert_eq!((plugin.status().instances, plugin.status().memory), (0, 0));
}

#[test]
fn an_idle_instance_goes() {
    let host = host();
    let plugin = host.add("noop", |settings| {
        settings.recycle.idle = Duration::from_millis(50)
    });
    outputs(host.call(&plugin, super::message("")));
    assert_eq!(plugin.status().instances, 1);
    until("idle instances are dropped", || {
        (plugin.status().instances == 0).then_some(())
    });
}
