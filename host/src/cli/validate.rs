//! `wharf validate`: everything that is wrong with a configuration, and with the components it names.

use serde_json::{Value, json};

use super::config::ConfigArgs;
use super::failure::{CONFIG, Failure, Result, say_error};
use super::inspect::{compiler, grant};
use super::output::{Out, count};
use crate::config::{self, Config, Loaded};
use crate::plugin::{self, CodeStore};

/// Arguments of `wharf validate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exits with 78 where something is wrong. Nothing is consumed, no broker is asked.

Examples:
  wharf validate
  wharf validate -c wharf.yaml --components
  wharf validate --json | jq -r '.diagnostics[] | \"\\(.file):\\(.line) \\(.message)\"'"
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also look into every component: whether this host runs it, and whether it is granted what it imports
    #[arg(long)]
    components: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &Args) -> Result<()> {
    if !args.json {
        return human(args);
    }
    let mut out = Out::new();
    let (document, valid) = match args.config.read() {
        Ok(loaded) => sound(args, &loaded)?,
        Err(report) => (refused(&report), false),
    };
    out.json(&document)?;
    if valid {
        Ok(())
    } else {
        Err(Failure::said(CONFIG))
    }
}

fn human(args: &Args) -> Result<()> {
    let config = args.config.load()?;
    let mut bad = 0;
    if args.components {
        for finding in components(&config)? {
            for problem in &finding.problems {
                bad += 1;
                say_error(&format!("plugin `{}`: {problem}", finding.plugin));
            }
        }
    }
    if bad > 0 {
        return Err(Failure::said(CONFIG));
    }
    let subscriptions: usize = config.plugins.values().map(|p| p.subscribe.len()).sum();
    Out::new().line(format_args!(
        "{} is valid: {}, {}, {}",
        args.config.config.display(),
        count(config.brokers.len() as u64, "broker"),
        count(config.plugins.len() as u64, "plugin"),
        count(subscriptions as u64, "subscription"),
    ))
}

fn refused(report: &config::Report) -> Value {
    json!({ "valid": false, "diagnostics": report.diagnostics, "omitted": report.omitted })
}

fn sound(args: &Args, loaded: &Loaded) -> Result<(Value, bool)> {
    let mut document = json!({
        "valid": true,
        "diagnostics": loaded.warnings,
        "omitted": 0,
        "files": loaded.files,
    });
    if !args.components {
        return Ok((document, true));
    }
    let findings = components(&loaded.config)?;
    let valid = findings.iter().all(|finding| finding.problems.is_empty());
    let listed: Vec<Value> = findings
        .into_iter()
        .map(|f| json!({ "plugin": f.plugin, "digest": f.digest, "problems": f.problems }))
        .collect();
    document["valid"] = json!(valid);
    document["components"] = json!(listed);
    Ok((document, valid))
}

/// What was found out about one plugin's component.
struct Finding {
    plugin: String,
    /// Where the file could be read and compiled.
    digest: Option<String>,
    problems: Vec<String>,
}

fn components(config: &Config) -> Result<Vec<Finding>> {
    super::block_on(async {
        let store = CodeStore::open(&config.host.cache, compiler()?)?;
        let mut findings = Vec::new();
        for (name, plugin) in &config.plugins {
            let inspected = plugin::inspect(&store, &plugin.component).await;
            let (digest, problems) = match inspected {
                Ok(found) => (Some(found.digest.to_string()), problems(plugin, found)),
                Err(error) => (None, vec![error.to_string()]),
            };
            findings.push(Finding {
                plugin: name.clone(),
                digest,
                problems,
            });
        }
        Ok(findings)
    })
}

fn problems(plugin: &config::Plugin, found: plugin::Inspection) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(wanted) = plugin
        .digest
        .as_ref()
        .filter(|wanted| **wanted != *found.digest)
    {
        let error = plugin::Error::Digest {
            wanted: wanted.clone(),
            found: found.digest.to_string(),
        };
        problems.push(error.to_string());
    }
    let granted = !plugin.grants.config.is_empty() || !plugin.grants.secrets.is_empty();
    for import in &found.imports {
        if let Some(grant) = grant(import.need)
            && !granted
        {
            problems.push(format!(
                "the component imports `{}`: grant it with `{grant}`",
                import.name
            ));
        }
    }
    problems.extend(found.refusal.map(|refusal| refusal.to_string()));
    problems
}
