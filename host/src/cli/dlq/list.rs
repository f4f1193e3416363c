//! `wharf dlq list`: how many dead letters there are, and why.

use std::collections::BTreeMap;

use serde_json::json;

use super::diagnosis::cause;
use super::scan::Scan;
use super::selection::Selection;
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::config::ConfigArgs;
use crate::cli::failure::{FAILED, Failure, Result, say_error};
use crate::cli::output::{Out, thousands};
use crate::cli::table::Table;
use crate::config::Config;

/// Arguments of `wharf dlq list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wharf dlq list
  wharf dlq list --json | jq -r 'select(.letters > 0) | .subscription'")]
pub(in crate::cli) struct Args {
    /// One JSON object per subscription
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn main(args: Args) -> Result<()> {
    let config = args.config.load()?;
    crate::cli::block_on(async move { list(&args, &config).await })
}

/// Dead letters by cause.
type Causes = BTreeMap<String, u64>;

async fn list(args: &Args, config: &Config) -> Result<()> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut out = Out::new();
    let mut table = Table::new(["SUBSCRIPTION", "LETTERS", "CAUSES", "AT"]);
    let mut failed = false;
    for target in Target::all(config) {
        match count(config, &mut clients, &target).await {
            Ok(causes) if args.json => out.json(&document(&target, &causes))?,
            Ok(causes) => table.row(row(&target, &causes)),
            Err(failure) => {
                failed = true;
                say_error(&format!("{}: {}", target.name(), failure.message()));
            }
        }
    }
    if !args.json {
        table.print(&mut out)?;
    }
    for client in clients.into_values() {
        client.close().await;
    }
    if failed {
        Err(Failure::said(FAILED))
    } else {
        Ok(())
    }
}

async fn count(
    config: &Config,
    clients: &mut BTreeMap<String, Client>,
    target: &Target,
) -> Result<Causes> {
    let broker = &target.at.broker;
    if !clients.contains_key(broker) {
        clients.insert(broker.clone(), Client::open(config, broker)?);
    }
    let Some(client) = clients.get(broker) else {
        return Ok(Causes::new());
    };
    let everything = Selection::default();
    let mut scan = Scan::new(client.letters(), target, &everything, None).await?;
    let mut causes = Causes::new();
    while let Some(records) = scan.next().await? {
        for record in &records {
            *causes.entry(cause(record)).or_default() += 1;
        }
    }
    Ok(causes)
}

fn row(target: &Target, causes: &Causes) -> [String; 4] {
    let mut by_number: Vec<(&String, &u64)> = causes.iter().collect();
    by_number.sort_by(|a, b| b.1.cmp(a.1));
    let text: Vec<String> = by_number
        .iter()
        .map(|(cause, number)| format!("{cause} {}", thousands(**number)))
        .collect();
    [
        target.name(),
        thousands(causes.values().sum()),
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.join(", ")
        },
        format!("{} {}", target.at.broker, target.at.name),
    ]
}

fn document(target: &Target, causes: &Causes) -> serde_json::Value {
    json!({
        "plugin": target.plugin,
        "subscription": target.name(),
        "broker": target.at.broker,
        "place": target.at.name,
        "letters": causes.values().sum::<u64>(),
        "causes": causes,
    })
}
