//! Rules about the process: addresses, the log, and what is there for nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Check;
use crate::config::diagnostic::Severity;
use crate::config::tree::Path;

pub(super) fn check(check: &mut Check<'_>) {
    addresses(check);
    let config = check.config;
    let host = Path::of(["host"]);
    if config.host.drain_timeout < Duration::from_secs(1) {
        check
            .value(
                &host.key("drain_timeout"),
                "nothing can be finished in so short a time",
            )
            .set_help("write at least `1s`; the default is `25s`");
    }
    if config.host.max_in_flight.bytes.as_u64() == 0 {
        check.value(
            &host.key("max_in_flight").key("bytes"),
            "no message fits into no bytes",
        );
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&config.log.level) {
        check
            .value(&Path::of(["log", "level"]), format!("this is not a log level: {error}"))
            .set_help("write `error`, `warn`, `info`, `debug` or `trace`, also per part: `info,wharf::broker=debug`");
    }
    // Hints about what is not used would be noise as long as something is wrong.
    if check
        .problems
        .iter()
        .all(|problem| problem.severity() != Severity::Error)
    {
        idle(check);
    }
}

fn addresses(check: &mut Check<'_>) {
    let admin = &check.config.admin;
    let Some(listen) = admin.listen else { return };
    let path = Path::of(["admin", "listen"]);
    let token = admin
        .token
        .as_ref()
        .is_some_and(|token| !token.expose().is_empty());
    let token_stands = check.stands(&Path::of(["admin", "token"])) && admin.token.is_none();
    if !listen.ip().is_loopback() && !token && !token_stands {
        check
            .value(&path, "anyone who reaches this address could administer the host")
            .set_help("set `admin.token`, for example `token: { file: /run/secrets/wharf-token }`, or listen on 127.0.0.1");
    }
    if check.config.telemetry.listen == Some(listen) && listen.port() != 0 {
        let other = check.merged.value_span(&Path::of(["telemetry", "listen"]));
        check
            .value(&path, "telemetry listens on this address already")
            .add_related(other, "telemetry is here (127.0.0.1:9090 unless it is set)");
    }
}

fn idle(check: &mut Check<'_>) {
    let config = check.config;
    if config.plugins.is_empty() {
        check
            .key(
                &Path::of(["plugins"]),
                "there is no plugin, so there is nothing to do",
            )
            .set_warning();
        return;
    }
    let mut used = BTreeSet::new();
    for plugin in config.plugins.values() {
        used.extend(plugin.subscribe.values().map(|one| one.broker.as_str()));
        used.extend(plugin.publish.values().map(|one| one.broker.as_str()));
        used.extend(
            plugin
                .dead_letter
                .iter()
                .filter_map(|one| one.broker.as_deref()),
        );
    }
    for name in config
        .brokers
        .keys()
        .filter(|name| !used.contains(name.as_str()))
    {
        check
            .key(
                &Path::of(["brokers", name]),
                format!("no plugin uses the broker `{name}`"),
            )
            .set_warning();
    }
}
