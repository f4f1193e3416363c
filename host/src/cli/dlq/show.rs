//! `wharf dlq show`: dead letters with everything that is known about them.

use owo_colors::OwoColorize as _;
use serde_json::{Map, Value};

use super::diagnosis;
use super::scan::Scan;
use super::selection::Selection;
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::config::ConfigArgs;
use crate::cli::failure::{Result, say_note};
use crate::cli::output::{Out, time};
use crate::cli::payload::{self, Show, one_line, printable};
use crate::cli::record::Record;

/// Arguments of `wharf dlq show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wharf dlq show orders/incoming
  wharf dlq show orders/incoming --cause trap --limit 1
  wharf dlq show orders/incoming --json | jq -r .reason | sort | uniq -c")]
pub(in crate::cli) struct Args {
    /// Whose: `<plugin>/<subscription>`; the plugin's name where it has one subscription
    subscription: String,
    #[command(flatten)]
    selection: Selection,
    /// How many at most, oldest first
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u64,
    /// How much of a payload is shown, in bytes
    #[arg(long, default_value_t = 2048, value_name = "BYTES")]
    preview: usize,
    /// One JSON object per line, payloads whole
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
        let done = show(&args, &target, &client).await;
        client.close().await;
        done
    })
}

async fn show(args: &Args, target: &Target, client: &Client) -> Result<()> {
    let mut out = Out::new();
    let mut shown = 0;
    let mut more = false;
    // One more than is shown, to know whether there are more.
    let limit = Some(args.limit.saturating_add(1));
    let mut scan = Scan::new(client.letters(), target, &args.selection, limit).await?;
    while let Some(records) = scan.next().await? {
        for record in &records {
            if shown == args.limit {
                more = true;
                break;
            }
            shown += 1;
            if args.json {
                out.json(&document(target, record))?;
            } else {
                human(&mut out, record, args.preview)?;
            }
        }
    }
    if shown == 0 && !args.json {
        say_note(&format!("{} has no such dead letters", target.name()));
    } else if more && !args.json {
        say_note(&format!(
            "the first {shown} are shown; see more with `--limit`"
        ));
    }
    Ok(())
}

/// The diagnosis beside the message, which is the line that `publish --file` takes, without the diagnosis in it.
fn document(target: &Target, record: &Record) -> Map<String, Value> {
    let mut own = record.clone();
    own.message.headers = diagnosis::own_headers(&record.message).cloned().collect();
    let mut message = own.to_json();
    let mut object = Map::new();
    for field in ["position", "published", "expires"] {
        if let Some(value) = message.remove(field) {
            object.insert(field.to_owned(), value);
        }
    }
    object.insert("plugin".into(), target.plugin.clone().into());
    object.insert("subscription".into(), target.subscription.clone().into());
    object.extend(diagnosis::to_json(record));
    object.insert("message".into(), Value::Object(message));
    object
}

fn human(out: &mut Out, record: &Record, preview: usize) -> Result<()> {
    let header = |name: &str| record.header(name).map(|text| one_line(&text));
    let code = header("wharf-code").map(|code| format!(" ({code})"));
    out.line(format_args!(
        "{} {} {}{}",
        record.position.bold(),
        one_line(record.id()),
        one_line(&diagnosis::cause(record)).red().bold(),
        code.unwrap_or_default(),
    ))?;
    let when = header("wharf-failed-at").unwrap_or_else(|| time(record.published_ms));
    out.line(format_args!("  {} {when}", "failed".dimmed()))?;
    for (label, name) in [
        ("reason", "__dlq.errors.message"),
        ("attempts", "wharf-attempts"),
        ("first failed", "wharf-first-failed-at"),
        ("redrives", "wharf-redrives"),
        ("version", "wharf-version"),
    ] {
        if let Some(text) = header(name) {
            out.line(format_args!("  {} {text}", label.dimmed()))?;
        }
    }
    if let (Some(topic), Some(offset)) =
        (header("__dlq.errors.topic"), header("__dlq.errors.offset"))
    {
        out.line(format_args!("  {} {topic} at {offset}", "from".dimmed()))?;
    }
    if let Some(key) = &record.message.key {
        let key = one_line(&String::from_utf8_lossy(key));
        out.line(format_args!("  {} {key}", "key".dimmed()))?;
    }
    for own in diagnosis::own_headers(&record.message) {
        let value = one_line(&String::from_utf8_lossy(&own.value));
        out.line(format_args!(
            "  {} {}: {value}",
            "header".dimmed(),
            one_line(&own.name)
        ))?;
    }
    block(out, "stderr", record.header("wharf-stderr").as_deref())?;
    block(
        out,
        "backtrace",
        record.header("wharf-backtrace").as_deref(),
    )?;
    let text = payload::show(&record.message.payload, Show::Auto, preview);
    block(out, "payload", Some(&text))?;
    out.line("")
}

/// Lines under a label.
fn block(out: &mut Out, label: &str, text: Option<&str>) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    out.line(format_args!("  {}", label.dimmed()))?;
    printable(text)
        .lines()
        .try_for_each(|line| out.line(format_args!("    {line}")))
}
