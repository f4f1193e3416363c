//! The host as its users run it: `wharf run` with a configuration of its own, in a process of its own.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokio::process::Command;

use crate::process::Running;
use crate::setup::Setup;

/// What places are called in a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// One that is read.
    pub(crate) source: &'static str,
    /// One that is published to.
    pub(crate) destination: &'static str,
    /// Whether what is published goes past the streams of NATS.
    pub(crate) core: bool,
}

impl Keys {
    /// The same word for both.
    pub(crate) const fn both(word: &'static str) -> Self {
        Self {
            source: word,
            destination: word,
            core: false,
        }
    }
}

/// What a host is run with.
pub(crate) struct Job<'a> {
    /// Where its configuration is written; the code cache is in there, so that a second run finds its code.
    pub(crate) folder: &'a Path,
    /// The broker `b`.
    pub(crate) broker: Value,
    /// What its places are called.
    pub(crate) keys: Keys,
    /// Its consumer group, where the place has such.
    pub(crate) group: Option<String>,
    /// The handler.
    pub(crate) component: PathBuf,
    /// Where it may publish: names that are places too.
    pub(crate) outputs: &'static [&'static str],
    /// Further keys of the plugin; an empty object is the host out of the box.
    pub(crate) plugin: Value,
}

impl Job<'_> {
    /// Writes the configuration. JSON is YAML.
    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        let outputs = self.outputs.iter().map(|name| {
            let mut place = json!({ "broker": "b", self.keys.destination: name });
            if self.keys.core {
                place["core"] = json!(true);
            }
            ((*name).to_owned(), place)
        });
        let mut source = json!({ "broker": "b", self.keys.source: "in" });
        if let Some(group) = &self.group {
            source["group"] = json!(group);
        }
        let mut plugin = json!({
            "component": self.component,
            "subscribe": { "in": source },
            "publish": outputs.collect::<Map<_, _>>(),
        });
        if let (Some(plugin), Some(more)) = (plugin.as_object_mut(), self.plugin.as_object()) {
            plugin.extend(more.clone());
        }
        let config = json!({
            "version": 1,
            "brokers": { "b": self.broker },
            "plugins": { "bench": plugin },
            "telemetry": { "listen": null },
            "host": { "cache": self.folder.join("cache") },
            "log": { "level": "error" },
        });
        let path = self.folder.join("wharf.yaml");
        std::fs::write(&path, format!("{config:#}"))?;
        Ok(path)
    }

    pub(crate) fn start(&self, setup: &Setup) -> anyhow::Result<Running> {
        let mut command = Command::new(&setup.wharf);
        command.arg("run").arg("--config").arg(self.write()?);
        Running::start("host", command)
    }
}
