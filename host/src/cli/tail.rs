//! `wharf tail`: looks at a topic or stream without consuming from it.

mod embedded;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;

use futures_util::future::BoxFuture;
use owo_colors::OwoColorize as _;

pub(super) use self::embedded::EmbeddedTail;
#[cfg(feature = "kafka")]
pub(super) use self::kafka::{KafkaTail, record as kafka_record};
#[cfg(feature = "nats")]
pub(super) use self::nats::NatsTail;
#[cfg(feature = "rabbitmq")]
pub(super) use self::rabbitmq::RabbitTail;
#[cfg(feature = "redis")]
pub(super) use self::redis::RedisTail;
use super::client::Client;
use super::config::ConfigArgs;
use super::failure::Result;
use super::output::{Out, time};
use super::payload::{self, Show, one_line};
use super::record::Record;
use crate::config::{Config, PayloadField};
use crate::ports::PayloadFrom;

/// Messages asked for at once.
const BATCH: usize = 256;
/// Bytes of a payload that are shown to people.
const PAYLOAD: usize = 64 * 1024;

/// Arguments of `wharf tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wharf tail events orders -n 5
  wharf tail events orders --follow --json | jq .payload
  wharf tail events orders --from-start --json > copy.jsonl   # what `publish --file` takes")]
pub(super) struct Args {
    /// The broker's name in the configuration
    broker: String,
    /// The topic, stream, list, …; on NATS also a subject of a stream
    topic: String,
    /// How many of the newest messages to begin with
    #[arg(short = 'n', long = "lines", default_value_t = 10, value_name = "N")]
    newest: usize,
    /// Begin with the oldest message there is
    #[arg(long, conflicts_with = "newest")]
    from_start: bool,
    /// Wait for more, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// How payloads are shown
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    payload: Show,
    /// One JSON object per line, in the shape that `publish --file` takes
    #[arg(long, conflicts_with = "payload")]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A place in a topic or stream, moved on by reading.
pub(super) trait Following: Send {
    /// The newest `limit` messages, oldest of them first. The place is then behind them.
    fn newest(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>>;

    /// The next messages that are there, at most `limit`; none at the end. Begins with the oldest.
    fn next(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>>;

    /// As `next`, but waits at the end; may return none all the same.
    fn wait(&mut self, limit: usize) -> BoxFuture<'_, Result<Vec<Record>>>;
}

pub(super) fn main(args: Args) -> Result<()> {
    let config = args.config.load()?;
    super::block_on(async move {
        let client = Client::open(&config, &args.broker)?;
        let payload = payload_of(&config, &args.broker, &args.topic);
        let mut following = client.following(&args.topic, &payload);
        let done = tokio::select! {
            done = show(&args, following.as_mut()) => done,
            // To be interrupted is how following ends.
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
        drop(following);
        client.close().await;
        done
    })
}

async fn show(args: &Args, following: &mut dyn Following) -> Result<()> {
    let mut printer = Printer {
        out: Out::new(),
        json: args.json,
        payload: args.payload,
    };
    if args.from_start {
        loop {
            let records = following.next(BATCH).await?;
            if records.is_empty() {
                break;
            }
            printer.all(&records)?;
        }
    } else {
        printer.all(&following.newest(args.newest).await?)?;
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        printer.all(&following.wait(BATCH).await?)?;
    }
}

/// Which field of an entry is the payload: as the subscriptions to that stream have it.
pub(super) fn payload_of(config: &Config, broker: &str, address: &str) -> PayloadFrom {
    let mut sources = config.plugins.values().flat_map(|p| p.subscribe.values());
    let source = sources.find(|s| s.broker == broker && s.source() == address);
    match source.and_then(|s| s.payload.clone()).unwrap_or_default() {
        PayloadField::Field(name) => PayloadFrom::Field(name.into()),
        PayloadField::Entry => PayloadFrom::Entry,
    }
}

struct Printer {
    out: Out,
    json: bool,
    payload: Show,
}

impl Printer {
    fn all(&mut self, records: &[Record]) -> Result<()> {
        records.iter().try_for_each(|record| self.one(record))
    }

    fn one(&mut self, record: &Record) -> Result<()> {
        if self.json {
            return self.out.json(&record.to_json());
        }
        let message = &record.message;
        let mut head = format!(
            "{} {} {}",
            record.position.bold(),
            time(record.published_ms).dimmed(),
            one_line(record.id())
        );
        if let Some(key) = &message.key {
            head.push_str(&format!(" key={}", one_line(&String::from_utf8_lossy(key))));
        }
        self.out.line(head)?;
        for header in &message.headers {
            let value = String::from_utf8_lossy(&header.value);
            self.out.line(format_args!(
                "  {}: {}",
                one_line(&header.name).cyan(),
                one_line(&value)
            ))?;
        }
        if message.tombstone {
            return self.out.line(format_args!("  {}", "(tombstone)".dimmed()));
        }
        let text = payload::show(&message.payload, self.payload, PAYLOAD);
        text.lines()
            .try_for_each(|line| self.out.line(format_args!("  {line}")))
    }
}
