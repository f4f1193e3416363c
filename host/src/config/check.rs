//! Sense: the rules that need two places at once, or a look at the world.
//!
//! Each rule is a function that reads the structs and reports what breaks it; none stops another. They run on whatever
//! was sound, so a rule must not complain about what is missing only because it was wrong and taken out: it asks
//! [`Check::stands`] whether something stands in the file.

mod brokers;
mod flow;
mod names;
mod policy;
mod process;

use super::diagnostic::Problem;
use super::tree::{Node, Path, Span};
use super::{Broker, Config, Plugin};

/// Checks a configuration. `written` is the tree of the files, `merged` the same after `defaults` were filled in.
pub(super) fn check(config: &Config, written: &Node, merged: &Node, problems: &mut Vec<Problem>) {
    let mut check = Check {
        config,
        written,
        merged,
        problems,
    };
    brokers::check(&mut check);
    for (name, plugin) in &config.plugins {
        let path = Path::of(["plugins", name]);
        names::check(&mut check, &path, name, plugin);
        policy::check(&mut check, &path, plugin);
        flow::check(&mut check, &path, name, plugin);
    }
    flow::groups(&mut check);
    process::check(&mut check);
}

struct Check<'a> {
    config: &'a Config,
    written: &'a Node,
    merged: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Check<'a> {
    /// Reports a value.
    fn value(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        self.push(self.merged.value_span(path), path, message)
    }

    /// Reports a key, or the key of what should hold it.
    fn key(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        self.push(self.merged.key_span(path), path, message)
    }

    fn push(&mut self, span: Span, path: &Path, message: impl Into<String>) -> &mut Problem {
        self.problems.push(Problem::new(span, message).at(path));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Whether something stands at `path`, in the plugin itself or through `defaults`, right or wrong.
    fn stands(&self, path: &Path) -> bool {
        self.merged.at(path).is_some_and(|node| !node.is_null())
    }

    /// Whether something stands at `path` in the files themselves.
    fn is_written(&self, path: &Path) -> bool {
        self.written.at(path).is_some_and(|node| !node.is_null())
    }

    fn broker(&self, name: &str) -> Option<&'a Broker> {
        self.config.brokers.get(name)
    }

    /// What tells whether two brokers are one place under two names.
    fn place(&self, name: &str) -> Option<String> {
        Some(match self.broker(name)? {
            Broker::Embedded(embedded) => format!("file {}", embedded.path.display()),
            #[cfg(feature = "redis")]
            Broker::Redis(redis) => match &redis.master {
                Some(master) => format!("redis {:?} {master}", redis.sentinels),
                None => format!("redis {}", redis.url.expose()),
            },
            #[cfg(feature = "kafka")]
            Broker::Kafka(kafka) => format!("kafka {}", kafka.bootstrap_servers),
            #[cfg(feature = "rabbitmq")]
            Broker::RabbitMq(rabbitmq) => format!("rabbitmq {}", rabbitmq.url.expose()),
            #[cfg(feature = "nats")]
            Broker::Nats(nats) => format!("nats {}", nats.url.expose()),
        })
    }

    /// Every subscription with the way to it.
    fn subscriptions(
        &self,
    ) -> impl Iterator<Item = (&'a str, &'a Plugin, &'a str, Path)> + use<'a> {
        self.config
            .plugins
            .iter()
            .flat_map(|(plugin_name, plugin)| {
                plugin.subscribe.keys().map(move |name| {
                    let path = Path::of(["plugins", plugin_name, "subscribe", name]);
                    (plugin_name.as_str(), plugin, name.as_str(), path)
                })
            })
    }
}
