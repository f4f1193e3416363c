//! `wharf dlq redrive`: dead letters go back to the subscription they came from, and to no other group.
//!
//! They go to `retry.{subscription}.{plugin}`, which the subscription reads besides its own topic. On the same broker
//! that is one atomic step; across brokers a letter is deleted once its copy is confirmed, so that a crash between the
//! two leaves one too many, under the same `wharf-redrive-id`, and never one too few.

use std::sync::Arc;

use owo_colors::OwoColorize as _;
use serde_json::json;

use super::diagnosis;
use super::letters::Move;
use super::scan::Scan;
use super::selection::Selection;
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::config::ConfigArgs;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{Out, count};
use crate::cli::progress::Progress;
use crate::cli::record::Record;
use crate::commit::{Destination, Publication};
use crate::config::Config;

/// Arguments of `wharf dlq redrive`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wharf dlq redrive orders/incoming --cause trap
  wharf dlq redrive orders/incoming --all --dry-run
  wharf dlq redrive orders/incoming --limit 10")]
pub(in crate::cli) struct Args {
    /// Whose: `<plugin>/<subscription>`; the plugin's name where it has one subscription
    subscription: String,
    #[command(flatten)]
    selection: Selection,
    /// How many at most, oldest first
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// All of them
    #[arg(long, conflicts_with_all = ["causes", "ids", "limit"])]
    all: bool,
    /// Only say what would be sent back
    #[arg(long)]
    dry_run: bool,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn main(args: Args) -> Result<()> {
    args.selection.check()?;
    if args.selection.is_empty() && args.limit.is_none() && !args.all {
        return Err(Failure::usage(
            "say which: `--cause`, `--id`, `--limit`, or `--all` of them",
        ));
    }
    let config = args.config.load()?;
    let target = Target::find(&config, &args.subscription)?;
    if target.unkept {
        return Err(Failure::usage(format!(
            "nothing can be sent back to {}: it reads a subject outside of streams, where nobody would keep it. `wharf dlq show --json` writes what `wharf publish --file` takes",
            target.name()
        )));
    }
    crate::cli::block_on(async move {
        let from = Client::open(&config, &target.at.broker)?;
        let redrive = Redrive {
            home: home(&config, &target)?,
            from: &from,
            target: &target,
            dry_run: args.dry_run,
        };
        let mut moved = 0;
        let done = redrive.run(&args, &mut moved).await;
        let kept = from.letters().keeps();
        if let Some(home) = redrive.home {
            home.close().await;
        }
        from.close().await;
        report(&args, &target, moved, kept, done)
    })
}

/// The broker the letters go to, where that is another one than they lie in.
fn home(config: &Config, target: &Target) -> Result<Option<Client>> {
    (target.home != target.at.broker)
        .then(|| Client::open(config, &target.home))
        .transpose()
}

fn report(args: &Args, target: &Target, moved: u64, kept: bool, done: Result<()>) -> Result<()> {
    let mut out = Out::new();
    if args.json {
        out.json(&json!({
            "subscription": target.name(),
            "redriven": if args.dry_run { 0 } else { moved },
            "selected": moved,
            "to": { "broker": target.home, "place": target.retry() },
            "dry_run": args.dry_run,
            "kept": kept,
        }))?;
    } else {
        let done = if args.dry_run {
            "would be redriven"
        } else {
            "redriven"
        };
        out.line(format_args!(
            "{} {done} to {} {}",
            count(moved, "dead letter").bold(),
            target.home,
            target.retry()
        ))?;
        if kept && moved > 0 && !args.dry_run {
            let place = &target.at.name;
            out.line(format_args!(
                "they stay in {place} as well: Kafka keeps records until retention ends them"
            ))?;
        }
    }
    // What was done before it failed has been said.
    done
}

struct Redrive<'a> {
    from: &'a Client,
    home: Option<Client>,
    target: &'a Target,
    dry_run: bool,
}

impl Redrive<'_> {
    async fn run(&self, args: &Args, moved: &mut u64) -> Result<()> {
        let letters = self.from.letters();
        let mut scan = Scan::new(letters, self.target, &args.selection, args.limit).await?;
        let total = args
            .limit
            .map_or(scan.left(), |limit| limit.min(scan.left()));
        let mut progress = Progress::new("redriven", args.selection.is_empty().then_some(total));
        while let Some(records) = scan.next().await? {
            let done = match &self.home {
                _ if self.dry_run => records.len() as u64,
                None => self.within(&records).await?,
                Some(home) => self.across(home, &records).await?,
            };
            *moved += done;
            progress.advance(done);
        }
        Ok(())
    }

    /// Names this sending back: the same letter sent back twice bears it twice.
    fn id(&self, record: &Record) -> String {
        let at = &self.target.at;
        format!("{}/{}/{}", at.broker, at.name, record.position)
    }

    async fn within(&self, records: &[Record]) -> Result<u64> {
        let moves: Vec<Move> = records
            .iter()
            .map(|record| Move {
                position: record.position.clone(),
                message: diagnosis::cured(record, &self.id(record)),
            })
            .collect();
        let (from, to) = (&self.target.at.name, self.target.retry());
        self.from.letters().redrive(from, &to, &moves).await
    }

    async fn across(&self, home: &Client, records: &[Record]) -> Result<u64> {
        let target = &self.target;
        let destination = Destination::new("retry", &*target.home, target.kind, target.retry());
        let destination = Arc::new(destination);
        home.make(&target.retry()).await?;
        let publications: Vec<Publication> = records
            .iter()
            .map(|record| Publication {
                destination: Arc::clone(&destination),
                message: diagnosis::cured(record, &self.id(record)),
            })
            .collect();
        let batch: Vec<&Publication> = publications.iter().collect();
        let results = home.publisher().publish(&batch).await;
        let mut confirmed = Vec::new();
        let mut failed = None;
        for (record, result) in records.iter().zip(results) {
            match result {
                Ok(()) => confirmed.push(record.position.clone()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let letters = self.from.letters();
        let moved = match letters.keeps() {
            true => confirmed.len() as u64,
            false => letters.delete(&self.target.at.name, &confirmed).await?,
        };
        failed.map_or(Ok(moved), |error| Err(error.into()))
    }
}
