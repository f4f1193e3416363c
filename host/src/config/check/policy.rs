//! Rules about retries, breakers, limits and the component's file.

use std::io::ErrorKind;

use super::Check;
#[cfg(feature = "rabbitmq")]
use crate::config::Broker;
#[cfg(feature = "rabbitmq")]
use crate::config::duration::render;
use crate::config::tree::Path;
use crate::config::{OnComponentError, OnDeadLetter, Order, Plugin};

pub(super) fn check(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    retry(check, &path.key("retry"), plugin);
    breaker(check, &path.key("breaker"), plugin);
    limits(check, path, plugin);
    component(check, &path.key("component"), plugin);
    if plugin.order == Order::None && plugin.on_dead_letter == OnDeadLetter::Halt {
        check
            .value(
                &path.key("on_dead_letter"),
                "`halt` stops a lane, and without an order there are none",
            )
            .set_help("set `order: key` or `order: source`, or let it continue")
            .set_warning();
    }
}

fn retry(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let retry = &plugin.retry;
    if retry.max_interval < retry.initial_interval {
        let initial = check.merged.key_span(&path.key("initial_interval"));
        let at = path.key(if check.stands(&path.key("max_interval")) {
            "max_interval"
        } else {
            "initial_interval"
        });
        let problem = check.value(
            &at,
            "the longest wait (`max_interval`) is shorter than the first one",
        );
        problem.set_help("let `max_interval` be at least `initial_interval`");
        if at == path.key("max_interval") {
            problem.add_related(initial, "the first wait is here");
        }
    }
}

fn breaker(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let Some(breaker) = &plugin.breaker else {
        return;
    };
    if breaker.window.is_zero() {
        check.value(
            &path.key("window"),
            "no failure falls within a window of no length",
        );
    }
    if breaker.recovery_timeout.is_zero() {
        check.value(
            &path.key("recovery_timeout"),
            "a breaker that closes at once protects nothing",
        );
    }
    if breaker.failure_ratio == Some(0.0) {
        check
            .value(
                &path.key("failure_ratio"),
                "a ratio of 0 is reached without a failure",
            )
            .set_help("write a share above 0, such as `0.5`, or leave it out");
    }
}

fn limits(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let limits = path.key("limits");
    if plugin.limits.deadline.is_zero() {
        check.value(&limits.key("deadline"), "nothing can be handled in no time");
    }
    // One page is the least that a memory can be, and no toolchain makes do with it.
    if plugin.limits.memory.as_u64() < 64 * 1024 {
        check
            .value(
                &limits.key("memory"),
                "no component runs in less than one page of memory",
            )
            .set_help("write at least `64KiB`; the default is `128MiB`");
    }
    #[cfg(feature = "rabbitmq")]
    patience(check, path, plugin);
    if plugin.recycle.idle.is_zero() {
        check
            .value(
                &path.key("recycle").key("idle"),
                "an instance would be thrown away as soon as it is idle",
            )
            .set_help("for a fresh instance per message set `isolation: message`");
    }
    if let Some(budget) = check.config.host.guest_memory
        && plugin.limits.memory > budget
    {
        let place = check.merged.value_span(&Path::of(["host", "guest_memory"]));
        check
            .value(
                &limits.key("memory"),
                "one instance may use more than all instances together",
            )
            .add_related(place, "the budget of all instances is here");
    }
}

/// A run that is longer than its broker waits would be done again. Half of that is for waiting, half for the run.
#[cfg(feature = "rabbitmq")]
fn patience(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let deadline = plugin.limits.deadline;
    // One problem is enough: the shortest of them.
    let shortest = plugin
        .subscribe
        .values()
        .filter_map(|one| match check.broker(&one.broker) {
            Some(Broker::RabbitMq(broker)) => Some((broker.consumer_timeout, &one.broker)),
            _ => None,
        })
        .min();
    let Some((patience, broker)) = shortest.filter(|(patience, _)| deadline >= *patience / 2)
    else {
        return;
    };
    let at = path.key("limits").key("deadline");
    let (half, patience) = (render(patience / 2), render(patience));
    let message = format!(
        "a run may take {}, and `{broker}` waits {patience} for a message: half of that is left for its run",
        render(deadline)
    );
    let help = format!(
        "write less than `{half}`, or have the server wait longer (`consumer_timeout` in its `rabbitmq.conf`) and say so with `consumer_timeout` under `brokers.{broker}`"
    );
    let place = Path::of(["brokers", broker.as_str()]);
    let place = match check.stands(&place.key("consumer_timeout")) {
        true => check.merged.value_span(&place.key("consumer_timeout")),
        false => check.merged.key_span(&place),
    };
    check
        .value(&at, message)
        .add_related(place, "messages come from there")
        .set_help(help);
}

/// Whether the file can be opened; what is in it, the host checks later. With `skip` and `last-good` a plugin that
/// cannot be loaded is provided for, so it is a warning there.
fn component(check: &mut Check<'_>, path: &Path, plugin: &Plugin) {
    let file = plugin.component.as_path();
    let shown = file.display();
    let (message, help) = if file.to_string_lossy().contains("://") {
        let message = "components are read from files".to_owned();
        (
            message,
            Some("fetch it first; registries come with a later version"),
        )
    } else if file.is_dir() {
        (
            format!("the component `{shown}` is a folder"),
            Some("name the .wasm file in it"),
        )
    } else {
        let message = match std::fs::File::open(file).map_err(|error| error.kind()) {
            Ok(_) => return,
            Err(ErrorKind::NotFound) => format!("the component `{shown}` does not exist"),
            Err(ErrorKind::PermissionDenied) => format!("the component `{shown}` may not be read"),
            Err(kind) => format!("the component `{shown}` cannot be read: {kind}"),
        };
        (message, None)
    };
    let fatal = plugin.on_component_error == OnComponentError::Refuse;
    let help = help.map(str::to_owned);
    let problem = check.value(path, message);
    problem.set_help_if(help);
    if !fatal {
        problem.set_warning();
    }
}
