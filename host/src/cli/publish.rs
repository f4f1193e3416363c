//! `wharf publish`: one message, or a file of them, confirmed by the broker before it is counted.

mod input;
mod send;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use clap::ArgGroup;
use serde_json::json;

use self::input::{Input, Source};
use self::send::{Counts, Sender};
use super::client::Client;
use super::config::{ConfigArgs, broker, subscription};
use super::failure::{Failure, Result};
use super::line::millis;
use super::output::{Out, count, thousands};
use super::progress::Progress;
use crate::commit::Destination;
use crate::config::{Config, PayloadField};
use crate::message::{Header, Outgoing};
use crate::place::PlaceKind;

/// Arguments of `wharf publish`.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["payload", "payload_file", "file", "tombstone"]),
    after_help = "Examples:
  wharf publish events orders --payload '{\"order_id\":\"o-1\"}' --key c-17 --header source=web
  wharf publish --to orders/incoming --file messages.jsonl --rate 500/s
  generate | wharf publish events orders --file -

A line of a file is one message:
  {\"key\": \"c-17\", \"headers\": {\"source\": \"web\"}, \"payload\": {\"order_id\": \"o-1\"}}
Instead of `payload` there may be `payload_text` or `payload_base64`. What a line does not say,
the options say for all lines."
)]
pub(super) struct Args {
    /// The broker's name in the configuration
    #[arg(
        required_unless_present = "to",
        conflicts_with = "to",
        requires = "topic"
    )]
    broker: Option<String>,
    /// The topic, stream, list, …
    topic: Option<String>,
    /// What the place is, where a broker has several kinds and the configuration names it nowhere
    #[arg(long, value_enum, conflicts_with = "to", value_name = "KIND")]
    kind: Option<Kind>,
    /// Publish to what this subscription reads, instead of naming broker and topic
    #[arg(long, value_name = "PLUGIN/SUBSCRIPTION")]
    to: Option<String>,

    /// The payload, as it is
    #[arg(long, value_name = "TEXT")]
    payload: Option<String>,
    /// A file that is the payload; `-` for standard input
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// A file of messages, one JSON object per line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A deletion marker: a message without payload
    #[arg(long)]
    tombstone: bool,

    /// Key for ordering and partitioning
    #[arg(long)]
    key: Option<String>,
    /// A header (may be repeated)
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// The message's id, for deduplication; by default a new one
    #[arg(long, conflicts_with_all = ["file", "repeat"])]
    id: Option<String>,
    /// Deliver not before this long from now, such as 5s
    #[arg(long, value_parser = millis, value_name = "TIME")]
    delay: Option<u32>,
    /// Not to be handled after this long from now
    #[arg(long, value_parser = millis, value_name = "TIME")]
    ttl: Option<u32>,
    /// Higher first, 0 to 255
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Media type of the payload
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Ties a reply to its request
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Where an answer is wanted
    #[arg(long, value_name = "TOPIC")]
    reply_to: Option<String>,

    /// How fast at most, such as 500/s
    #[arg(long, value_parser = rate, value_name = "N/s")]
    rate: Option<f64>,
    /// Publish the message, or the file, so many times
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Leave out what cannot be published, and count it
    #[arg(long)]
    skip_bad: bool,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What a place of Redis is.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Stream,
    List,
    SortedSet,
    Channel,
}

impl From<Kind> for PlaceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Stream => Self::Stream,
            Kind::List => Self::List,
            Kind::SortedSet => Self::SortedSet,
            Kind::Channel => Self::Channel,
        }
    }
}

/// What a place is by the configuration, where something reads it or publishes to it.
fn kind_of(config: &Config, broker: &str, place: &str) -> Option<PlaceKind> {
    let read = config.plugins.values().flat_map(|plugin| {
        let of = plugin.subscribe.values().filter(|one| one.broker == broker);
        of.filter_map(crate::config::Subscription::place)
    });
    let written = config.plugins.values().flat_map(|plugin| {
        let of = plugin.publish.values().filter(|one| one.broker == broker);
        of.filter_map(crate::config::Destination::place)
    });
    let mut named = read.chain(written).filter(|(_, name)| *name == place);
    let places = config.brokers.get(broker)?.places();
    let named = named.find_map(|(kind, _)| places.writable(kind));
    let mut dead = config.plugins.iter().flat_map(|(name, plugin)| {
        let all = plugin.subscribe.keys();
        all.filter_map(move |one| plugin.dead_letter_target(name, one))
    });
    named.or_else(|| {
        let at = dead.find(|at| at.broker == broker && at.name == place)?;
        Some(places.dead_letter(at.named))
    })
}

/// `NAME=VALUE`.
fn header(text: &str) -> std::result::Result<Header, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Header::text(name, value.to_owned())),
        _ => Err("a header is written NAME=VALUE".to_owned()),
    }
}

/// `500/s`, `500`, `30/m`: messages per second.
fn rate(text: &str) -> std::result::Result<f64, String> {
    let (number, per) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((_, unit)) => return Err(format!("`{unit}` is no unit of time here; write `500/s`")),
    };
    match number.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate / per),
        _ => Err("a rate is written `500/s`".to_owned()),
    }
}

impl Args {
    /// What the options say about a message.
    fn template(&self) -> Outgoing {
        let text = |text: &Option<String>| text.clone().map(Into::into);
        Outgoing {
            id: text(&self.id),
            key: self.key.clone().map(Bytes::from),
            headers: self.headers.clone(),
            tombstone: self.tombstone,
            content_type: text(&self.content_type),
            correlation_id: text(&self.correlation_id),
            reply_to: text(&self.reply_to),
            delay_ms: self.delay,
            ttl_ms: self.ttl,
            priority: self.priority,
            ..Outgoing::default()
        }
    }

    fn source(&self) -> Result<Source> {
        if let Some(file) = &self.file {
            return Source::lines(file, self.repeat);
        }
        let payload = match (&self.payload, &self.payload_file) {
            (Some(text), _) => Bytes::from(text.clone()),
            (None, Some(file)) => input::whole(file)?,
            (None, None) => Bytes::new(),
        };
        Ok(Source::One(payload, self.repeat))
    }

    fn destination(&self, config: &Config) -> Result<Arc<Destination>> {
        let (broker, (kind, address), payload_field, core) = match (
            &self.to,
            &self.broker,
            &self.topic,
        ) {
            (Some(to), ..) => {
                let source = subscription(config, to)?.source;
                let field = match &source.payload {
                    Some(PayloadField::Field(name)) => Some(name.as_str().into()),
                    _ => None,
                };
                let place = source.place();
                let place = place.ok_or_else(|| Failure::usage(format!("`{to}` reads nothing")))?;
                if let (PlaceKind::Stream, "nats") =
                    (place.0, broker(config, &source.broker)?.kind())
                {
                    return Err(Failure::usage(format!(
                        "`{to}` reads a stream of NATS, which takes messages by their subjects: name the broker and a subject that `{}` holds",
                        place.1
                    )));
                }
                if place.0 == PlaceKind::Pattern {
                    let pattern = place.1;
                    return Err(Failure::usage(format!(
                        "`{to}` listens to the pattern `{pattern}`, which is no channel; name the broker, a channel and `--kind channel`"
                    )));
                }
                // Whoever reads a subject listens now; there is nobody to keep it for them.
                (&*source.broker, place, field, place.0 == PlaceKind::Subject)
            }
            (None, Some(name), Some(place)) => {
                let places = broker(config, name)?.places();
                let kind = match self.kind {
                    Some(kind) => places.writable(kind.into()).ok_or_else(|| {
                        Failure::usage(format!("`{name}` has no places of this kind"))
                    })?,
                    None => kind_of(config, name, place).unwrap_or(places.own),
                };
                (&**name, (kind, &**place), None, false)
            }
            _ => return Err(Failure::usage("name a broker and a topic, or `--to`")),
        };
        Ok(Arc::new(Destination {
            payload_field,
            core,
            ..Destination::new("publish", broker, kind, address)
        }))
    }
}

pub(super) fn main(args: Args) -> Result<()> {
    let config = args.config.load()?;
    let destination = args.destination(&config)?;
    let source = args.source()?;
    super::block_on(async move {
        let client = Client::open(&config, &destination.broker)?;
        let mut counts = Counts::default();
        let mut progress = Progress::new("published", source.total());
        let sender = Sender {
            publisher: client.publisher(),
            destination: Arc::clone(&destination),
            rate: args.rate,
            skip_bad: args.skip_bad,
        };
        let input = Input::start(source, args.template())?;
        let done = tokio::select! {
            done = sender.run(input, &mut progress, &mut counts) => done,
            interrupted = tokio::signal::ctrl_c() => Err(Failure::new(match interrupted {
                Ok(()) => "interrupted; what was under way may have been published besides".to_owned(),
                Err(error) => format!("no signals: {error}"),
            })),
        };
        client.close().await;
        progress.finish();
        report(&args, &destination, &counts, &progress)?;
        done
    })
}

fn report(args: &Args, to: &Destination, counts: &Counts, progress: &Progress) -> Result<()> {
    let mut out = Out::new();
    if args.json {
        return out.json(&json!({
            "broker": &*to.broker,
            "to": &*to.address,
            "published": counts.confirmed,
            "skipped": counts.skipped,
            "seconds": progress.took().as_secs_f64(),
        }));
    }
    let mut text = format!(
        "{} published to {} {}",
        count(counts.confirmed, "message"),
        to.broker,
        to.address
    );
    if counts.confirmed > 1 {
        let took = progress.took().as_secs_f64();
        text.push_str(&format!(
            " in {took:.1} s ({}/s)",
            thousands(progress.rate())
        ));
    }
    if counts.skipped > 0 {
        text.push_str(&format!(", {} skipped", thousands(counts.skipped)));
    }
    out.line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(rate("500/s"), Ok(500.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        assert_eq!(rate("30/m"), Ok(0.5));
        for wrong in ["", "0/s", "-1", "5/h", "x/s", "inf"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_keep_what_follows_the_first_equals_sign() {
        assert_eq!(header("a=b=c"), Ok(Header::text("a", "b=c".to_owned())));
        assert_eq!(header("a="), Ok(Header::text("a", String::new())));
        assert!(header("a").is_err());
        assert!(header("=a").is_err());
    }
}
