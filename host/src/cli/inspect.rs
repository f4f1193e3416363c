//! `wharf inspect`: what a component is and what it needs. Nothing of it is run.

use std::path::PathBuf;

use owo_colors::OwoColorize as _;
use serde_json::json;

use super::failure::{FAILED, Failure, Result};
use super::output::{Out, thousands};
use crate::plugin::{self, CodeStore, Compiler, Inspection, Need};

/// Arguments of `wharf inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 1 where this host cannot run the component.

Examples:
  wharf inspect handler.wasm
  wharf inspect handler.wasm --json | jq -r .digest      # for `digest:` in the configuration")]
pub(super) struct Args {
    /// The component's file
    component: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &Args) -> Result<()> {
    let found = super::block_on(async {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::new(format!("no folder to compile in: {error}")))?;
        let store = CodeStore::open(folder.path().join("code"), compiler()?)?;
        Ok(plugin::inspect(&store, &args.component).await?)
    });
    let found = found.map_err(|failure| failure.at(args.component.display()))?;
    let mut out = Out::new();
    if args.json {
        out.json(&document(&found))?;
    } else {
        human(&mut out, &found)?;
    }
    match found.refusal {
        None => Ok(()),
        // Already part of what was printed.
        Some(_) => Err(Failure::said(FAILED)),
    }
}

/// This program, which compiles components in a child process.
pub(super) fn compiler() -> Result<Compiler> {
    Compiler::this_program().map_err(|error| {
        Failure::new(format!(
            "cannot find the running program, which compiles components: {error}"
        ))
    })
}

/// What an import needs, where it needs something to be granted.
pub(super) fn grant(need: Need) -> Option<&'static str> {
    match need {
        Need::Config => Some("grants.config"),
        Need::Nothing | Need::Unsupported => None,
    }
}

fn document(found: &Inspection) -> serde_json::Value {
    let imports: Vec<_> = found
        .imports
        .iter()
        .map(|import| json!({ "name": import.name, "needs": import.need.to_string() }))
        .collect();
    json!({
        "digest": &*found.digest,
        "size": found.size,
        "exports": found.exports,
        "imports": imports,
        "runs": found.refusal.is_none(),
        "refusal": found.refusal.as_ref().map(ToString::to_string),
    })
}

fn human(out: &mut Out, found: &Inspection) -> Result<()> {
    out.line(format_args!("{}   {}", "digest".dimmed(), found.digest))?;
    out.line(format_args!(
        "{}     {} bytes",
        "size".dimmed(),
        thousands(found.size)
    ))?;
    for (at, export) in found.exports.iter().enumerate() {
        let label = if at == 0 { "exports" } else { "       " };
        out.line(format_args!("{}  {export}", label.dimmed()))?;
    }
    for (at, import) in found.imports.iter().enumerate() {
        let label = if at == 0 { "imports" } else { "       " };
        let needs = match import.need {
            Need::Nothing => String::new(),
            Need::Config => format!("  {}", "needs grants.config".yellow()),
            Need::Unsupported => format!("  {}", "not supported".red()),
        };
        out.line(format_args!("{}  {}{needs}", label.dimmed(), import.name))?;
    }
    match &found.refusal {
        None => out.line(format_args!("{}     {}", "runs".dimmed(), "yes".green())),
        Some(refusal) => out.line(format_args!(
            "{}     {}: {refusal}",
            "runs".dimmed(),
            "no".red()
        )),
    }
}
