//! The configuration, as the commands need it.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::failure::{self, Failure, Result};
use crate::config::{self, Config, Loaded};

/// Which configuration.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration file
    #[arg(
        short,
        long,
        env = "WHARF_CONFIG",
        default_value = "wharf.yaml",
        value_name = "FILE"
    )]
    pub(super) config: PathBuf,
}

/// Whether standard error takes colours.
fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

impl ConfigArgs {
    /// Reads it with the variables of the environment.
    pub(super) fn read(&self) -> std::result::Result<Loaded, config::Report> {
        config::load(&self.config, &|name| std::env::var(name).ok())
    }

    /// Reads it, or says everything that is wrong with it.
    pub(super) fn load(&self) -> Result<Config> {
        match self.read() {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    anstream::eprintln!("{}", warning.render(colour()).trim_end());
                }
                Ok(loaded.config)
            }
            Err(report) => {
                anstream::eprintln!("{}", report.render(colour()).trim_end());
                Err(Failure::said(failure::CONFIG))
            }
        }
    }
}

/// The broker of that name.
pub(super) fn broker<'a>(config: &'a Config, name: &str) -> Result<&'a config::Broker> {
    config.brokers.get(name).ok_or_else(|| {
        Failure::usage(format!(
            "there is no broker `{name}` in the configuration; {}",
            known("it has", config.brokers.keys())
        ))
    })
}

/// A plugin and one of its subscriptions by name.
pub(super) struct Named<'a> {
    pub(super) plugin: &'a str,
    pub(super) subscription: &'a str,
    pub(super) source: &'a config::Subscription,
}

/// Finds `<plugin>/<subscription>`. The subscription may be left out where the plugin has one only.
pub(super) fn subscription<'a>(config: &'a Config, text: &str) -> Result<Named<'a>> {
    let (plugin, subscription) = match text.split_once('/') {
        Some((plugin, subscription)) => (plugin, Some(subscription)),
        None => (text, None),
    };
    let (plugin, settings) = config.plugins.get_key_value(plugin).ok_or_else(|| {
        Failure::usage(format!(
            "there is no plugin `{plugin}` in the configuration; {}",
            known("it has", config.plugins.keys())
        ))
    })?;
    let found = match subscription {
        Some(name) => settings.subscribe.get_key_value(name),
        None if settings.subscribe.len() == 1 => settings.subscribe.first_key_value(),
        None => None,
    };
    let (subscription, source) = found.ok_or_else(|| {
        let names = settings
            .subscribe
            .keys()
            .map(|name| format!("{plugin}/{name}"));
        Failure::usage(format!(
            "`{text}` is no subscription; {}",
            known(&format!("plugin `{plugin}` has"), names)
        ))
    })?;
    Ok(Named {
        plugin,
        subscription,
        source,
    })
}

/// `it has `a`, `b``, or `it has none`.
fn known<T: std::fmt::Display>(has: &str, names: impl Iterator<Item = T>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        format!("{has} none")
    } else {
        format!("{has} {}", names.join(", "))
    }
}
