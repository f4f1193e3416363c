//! `wharf dlq purge`: deletes dead letters, for good.

use owo_colors::OwoColorize as _;
use serde_json::json;

use super::scan::Scan;
use super::selection::Selection;
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::config::ConfigArgs;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Out, count};
use crate::cli::progress::Progress;

/// Arguments of `wharf dlq purge`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wharf dlq purge orders/incoming --cause rejected --yes
  wharf dlq purge orders/incoming               # says how many it would delete")]
pub(in crate::cli) struct Args {
    /// Whose: `<plugin>/<subscription>`; the plugin's name where it has one subscription
    subscription: String,
    #[command(flatten)]
    selection: Selection,
    /// Really delete them
    #[arg(long)]
    yes: bool,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn main(args: Args) -> Result<()> {
    args.selection.check()?;
    let config = args.config.load()?;
    let target = Target::find(&config, &args.subscription)?;
    crate::cli::block_on(async move {
        let client = Client::open(&config, &target.at.broker)?;
        if client.letters().keeps() {
            client.close().await;
            return Err(Failure::new(format!(
                "the dead letters of {} lie in a topic of Kafka, which cannot delete single records: let `retention` of `{}` do it",
                target.name(),
                target.at.name
            )));
        }
        let mut deleted = 0;
        let done = purge(&args, &target, &client, &mut deleted).await;
        client.close().await;
        report(&args, &target, deleted)?;
        done
    })
}

async fn purge(args: &Args, target: &Target, client: &Client, deleted: &mut u64) -> Result<()> {
    let letters = client.letters();
    let mut scan = Scan::new(letters, target, &args.selection, None).await?;
    let mut progress = Progress::new("deleted", None);
    while let Some(records) = scan.next().await? {
        let positions: Vec<String> = records.into_iter().map(|r| r.position).collect();
        let gone = if args.yes && !positions.is_empty() {
            letters.delete(&target.at.name, &positions).await?
        } else {
            positions.len() as u64
        };
        *deleted += gone;
        progress.advance(gone);
    }
    Ok(())
}

fn report(args: &Args, target: &Target, deleted: u64) -> Result<()> {
    let mut out = Out::new();
    let letters = count(deleted, "dead letter");
    if args.json {
        let done = if args.yes { deleted } else { 0 };
        out.json(&json!({"subscription": target.name(), "purged": done, "selected": deleted}))?;
    } else if args.yes {
        out.line(format_args!(
            "{} of {} deleted",
            letters.bold(),
            target.name()
        ))?;
    }
    if args.yes {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{letters} of {} would be deleted for good; repeat with `--yes`",
        target.name()
    )))
}
