//! `wharf test`: messages through a handler, in this process, without a broker.
//!
//! The handler runs as it would in a host, in the same engine under the same limits; only what surrounds it is missing:
//! one attempt per message, no retries, and nothing is published. Without a configuration every destination is
//! granted, so that a handler can be tried before it has one.

mod case;
mod diff;
mod expect;
mod runner;
mod shown;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use owo_colors::OwoColorize as _;
use serde_json::json;

use self::case::Case;
use self::expect::Expected;
use self::runner::Runner;
use super::failure::{FAILED, Failure, Result};
use super::output::Out;
use crate::config::{self, Config, Log, LogFormat};
use crate::handler::Handled;
use crate::plugin::Settings;
use crate::telemetry::logging;

/// Arguments of `wharf test`.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("input").required(true).args(["messages", "payload"]),
    after_help = "Examples:
  wharf test handler.wasm --payload '{\"name\":\"Ada\"}'
  wharf test handler.wasm --messages messages.jsonl
  wharf test handler.wasm --config wharf.yaml --plugin orders --messages cases.jsonl

A line of messages is what `publish --file` takes, with what should come of it:
  {\"name\": \"greets\", \"payload\": {\"name\": \"Ada\"},
   \"expect\": {\"accept\": [{\"destination\": \"greetings\", \"payload\": {\"greeting\": \"Hello, Ada!\"}}]}}
`expect` is one of `accept` (all outputs in order), `retry`, `reject`, `unavailable` (with `code` and `after_ms`) and
`fault` (with `kind`: trap, deadline, memory, bad-output, denied). Fields of an output that are left out must be absent.

Exits with 1 where something else came of a message, and with 0 otherwise."
)]
pub(super) struct Args {
    /// The component's file
    component: PathBuf,
    /// Messages, one JSON object per line
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
    /// One message with this payload
    #[arg(long, value_name = "TEXT")]
    payload: Option<String>,
    /// What should come of the messages: the nth line holds the `expect` of the nth message
    #[arg(long, value_name = "FILE", requires = "messages")]
    expect: Option<PathBuf>,
    /// Grants, limits and destinations as a plugin of this configuration has them
    #[arg(short, long, value_name = "FILE", requires = "plugin")]
    config: Option<PathBuf>,
    /// Which plugin of the configuration
    #[arg(long, value_name = "NAME", requires = "config")]
    plugin: Option<String>,
    /// A setting the handler may read, as `grants.config` would give it (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting, conflicts_with = "config")]
    settings: Vec<(String, String)>,
    /// Show what the handler logs, on standard error
    #[arg(long)]
    logs: bool,
    /// One JSON object per message
    #[arg(long)]
    json: bool,
}

/// `NAME=VALUE`.
fn setting(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a setting is written NAME=VALUE".to_owned()),
    }
}

pub(super) fn main(args: &Args) -> Result<()> {
    let log = Log {
        format: Some(LogFormat::Pretty),
        level: if args.logs { "warn,guest=trace" } else { "off" }.to_owned(),
    };
    logging::init(&log).map_err(Failure::config)?;
    let cases = cases(args)?;
    let config = args.loaded()?;
    let runner = Runner::start(args.handler(config.as_ref())?, &cache(config.as_ref()))
        .map_err(|failure| failure.at(args.component.display()))?;
    let mut report = Report {
        out: Out::new(),
        json: args.json,
        passed: 0,
        failed: 0,
        unchecked: 0,
    };
    for case in cases {
        let handled = runner.run(&case)?;
        report.one(&case, &handled)?;
    }
    report.finish()
}

impl Args {
    fn loaded(&self) -> Result<Option<Config>> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let args = super::config::ConfigArgs {
            config: path.clone(),
        };
        args.load().map(Some)
    }

    /// What the handler gets.
    fn handler(&self, config: Option<&Config>) -> Result<Settings> {
        let mut settings = match (config, &self.plugin) {
            (Some(config), Some(name)) => Settings::new(name, plugin(config, name)?, 1),
            _ => Settings {
                any_destination: true,
                config: self.settings.iter().cloned().collect::<BTreeMap<_, _>>(),
                ..Settings::bare("test", &self.component)
            },
        };
        settings.component.clone_from(&self.component);
        // What is tried may well be another version than the one that is pinned.
        settings.digest = None;
        settings.on_component_error = config::OnComponentError::Refuse;
        settings.instances = 1;
        Ok(settings)
    }
}

fn plugin<'a>(config: &'a Config, name: &str) -> Result<&'a config::Plugin> {
    config.plugins.get(name).ok_or_else(|| {
        let names: Vec<&str> = config.plugins.keys().map(String::as_str).collect();
        Failure::usage(format!(
            "there is no plugin `{name}` in the configuration; it has {}",
            names.join(", ")
        ))
    })
}

/// Where compiled code is kept: as the configuration says, or where a host without one keeps it.
fn cache(config: Option<&Config>) -> PathBuf {
    if let Some(config) = config {
        return config.host.cache.clone();
    }
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    var("XDG_CACHE_HOME")
        .or_else(|| var("HOME").map(|home| home.join(".cache")))
        .map_or_else(
            || Path::new(".wharf/cache").to_owned(),
            |folder| folder.join("wharf"),
        )
}

fn cases(args: &Args) -> Result<Vec<Case>> {
    let mut cases = match (&args.messages, &args.payload) {
        (Some(file), _) => case::read(file)?,
        (None, payload) => vec![Case::inline(payload.as_deref().unwrap_or_default())],
    };
    if let Some(file) = &args.expect {
        let expected = expect::read(file)?;
        if expected.len() != cases.len() {
            return Err(Failure::usage(format!(
                "{} holds {} expectations for {} messages",
                file.display(),
                expected.len(),
                cases.len()
            )));
        }
        for (case, expected) in cases.iter_mut().zip(expected) {
            case.expected = Some(expected);
        }
    }
    Ok(cases)
}

/// What is printed, and the sum.
struct Report {
    out: Out,
    json: bool,
    passed: u64,
    failed: u64,
    /// Nothing was expected of them.
    unchecked: u64,
}

impl Report {
    fn one(&mut self, case: &Case, handled: &Handled) -> Result<()> {
        let verdict = case
            .expected
            .as_ref()
            .map(|expected| expected.check(&handled.result));
        match &verdict {
            None => self.unchecked += 1,
            Some(Ok(())) => self.passed += 1,
            Some(Err(_)) => self.failed += 1,
        }
        if self.json {
            return self.out.json(&json!({
                "name": case.name,
                "id": &*case.message.id,
                "outcome": shown::result(&handled.result, Expected::json_payloads(case.expected.as_ref())),
                "fault": handled.result.as_ref().err().map(shown::fault),
                "passed": verdict.as_ref().map(std::result::Result::is_ok),
                "difference": verdict.and_then(std::result::Result::err),
            }));
        }
        match verdict {
            None => {
                self.out
                    .line(format_args!("{} {}", "ran ".cyan(), case.name))?;
                self.outcome(handled)
            }
            Some(Ok(())) => self
                .out
                .line(format_args!("{} {}", "pass".green(), case.name)),
            Some(Err(difference)) => {
                self.out
                    .line(format_args!("{} {}", "FAIL".red().bold(), case.name))?;
                for line in difference.lines() {
                    match line.as_bytes().first() {
                        Some(b'-') => self.out.line(format_args!("     {}", line.red()))?,
                        Some(b'+') => self.out.line(format_args!("     {}", line.green()))?,
                        _ => self.out.line(format_args!("     {line}"))?,
                    }
                }
                self.details(handled)
            }
        }
    }

    fn outcome(&mut self, handled: &Handled) -> Result<()> {
        for line in shown::pretty(&shown::result(&handled.result, &[])).lines() {
            self.out.line(format_args!("     {line}"))?;
        }
        self.details(handled)
    }

    /// Of a fault: where it was, and what the handler last said.
    fn details(&mut self, handled: &Handled) -> Result<()> {
        let Err(fault) = &handled.result else {
            return Ok(());
        };
        self.out
            .line(format_args!("     {} {}", fault.kind.red(), fault.message))?;
        for (label, lines) in [("stderr", &fault.stderr), ("backtrace", &fault.backtrace)] {
            if lines.is_empty() {
                continue;
            }
            self.out.line(format_args!("     {}", label.dimmed()))?;
            for line in lines {
                let line = super::payload::one_line(line);
                self.out.line(format_args!("       {line}"))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if !self.json {
            let unchecked = match self.unchecked {
                0 => String::new(),
                n => format!(", {n} without expectation"),
            };
            let text = format!("{} passed, {} failed{unchecked}", self.passed, self.failed);
            self.out.line(text.bold())?;
        }
        if self.failed > 0 {
            Err(Failure::said(FAILED))
        } else {
            Ok(())
        }
    }
}
