//! From publishing a message to seeing its output, at rates far from the limit. Open loop: a message is published when
//! its time has come, whatever became of those before it. Host and twin take turns.
//!
//! On Redis, publisher and observer are this process and the host is another. The embedded broker is measured inside
//! the process that owns the file, where publishing wakes the reader; and once from another process, where the owner
//! looks at the file every 20 ms, and so does the observer.

mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::join;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};
use wharf::broker::embedded::Embedded;
use wharf::config;
use wharf::host::Host;
use wharf::plugin::Compiler;
use wharf::ports::Broker;

use self::wire::{EmbeddedOut, FileOut, Observer, Publish, RedisOut};
use crate::hosts::{Job, Keys};
use crate::payload::{payload, read};
use crate::report::{Report, Table, progress};
use crate::setup::Setup;
use crate::stage::{RedisStage, Stage};
use crate::stats::Samples;
use crate::twin::{self, Place, Work};

/// Messages a second.
const RATES: [u32; 2] = [100, 1000];
/// Messages that are not measured, at 100 a second.
const WARM_UP: u64 = 100;
/// Longest time for all of them to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is between publisher and observer, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    RedisTwin,
    RedisHost,
    EmbeddedTwin,
    EmbeddedHost,
    OtherProcess,
}

impl Way {
    const ALL: [(Self, &'static str); 5] = [
        (Self::RedisTwin, "Redis streams, twin"),
        (Self::RedisHost, "Redis streams, host"),
        (Self::EmbeddedTwin, "embedded, same process, twin"),
        (Self::EmbeddedHost, "embedded, same process, host"),
        (Self::OtherProcess, "embedded, from another process, host"),
    ];
}

#[derive(Default)]
struct Shown {
    p50: Samples,
    p99: Samples,
}

pub(crate) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let seconds = setup.pick(8, 1);
    let rounds = setup.rounds(5);
    let mut table = Table::new(
        format!(
            "From publishing to the output seen, json-echo, ms: {rounds} rounds of {seconds} s, median (least-most)"
        ),
        &["way", "msg/s", "p50", "p99"],
    );
    let mut shown: Vec<Shown> = (0..RATES.len() * Way::ALL.len())
        .map(|_| Shown::default())
        .collect();
    for round in 1..=rounds {
        let mut places = shown.iter_mut();
        for rate in RATES {
            for (way, name) in Way::ALL {
                progress(&format!(
                    "latency, round {round} of {rounds}: {name}, {rate} msg/s"
                ));
                let one = measure(setup, way, rate, seconds).await.context(name)?;
                if let Some(shown) = places.next() {
                    shown.p50.push(one.quantile(0.5));
                    shown.p99.push(one.quantile(0.99));
                }
            }
        }
    }
    let mut places = shown.iter();
    for rate in RATES {
        for ((_, name), shown) in Way::ALL.iter().zip(places.by_ref()) {
            table.row([
                (*name).to_owned(),
                rate.to_string(),
                shown.p50.text(2),
                shown.p99.text(2),
            ]);
        }
    }
    report.table(&table)
}

async fn measure(setup: &Setup, way: Way, rate: u32, seconds: u32) -> anyhow::Result<Samples> {
    match way {
        Way::RedisTwin | Way::RedisHost => redis(setup, way == Way::RedisHost, rate, seconds).await,
        Way::EmbeddedTwin | Way::EmbeddedHost => {
            same_process(setup, way == Way::EmbeddedHost, rate, seconds).await
        }
        Way::OtherProcess => other_process(setup, rate, seconds).await,
    }
}

/// The host of one run: out of the box.
fn job<'a>(
    setup: &Setup,
    folder: &'a std::path::Path,
    keys: Keys,
    broker: serde_json::Value,
) -> anyhow::Result<Job<'a>> {
    Ok(Job {
        folder,
        broker,
        keys,
        group: "bench".into(),
        component: setup.guest(Work::Echo.name())?,
        outputs: &["out"],
        plugin: json!({}),
    })
}

async fn redis(setup: &Setup, host: bool, rate: u32, seconds: u32) -> anyhow::Result<Samples> {
    let stage = RedisStage::filled(0).await?;
    let mut running = if host {
        job(setup, &stage.folder(), RedisStage::KEYS, stage.broker())?.start(setup)?
    } else {
        twin::start(&stage.place(), Work::Echo)?
    };
    let publish = wire::to_redis(stage.client());
    let observer = RedisOut::new(stage.another_client().await);
    let samples = flow(publish, observer, rate, seconds).await;
    running.check()?;
    running.kill().await?;
    samples
}

async fn same_process(
    setup: &Setup,
    host: bool,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<Samples> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("events.db");
    if !host {
        let broker = Arc::new(Embedded::open_owner("b", &config::Embedded::new(&file))?);
        let pumped = Arc::clone(&broker);
        let twin = tokio::spawn(async move { twin::pump(&*pumped, Work::Echo).await });
        let samples = through(&*broker, rate, seconds).await;
        if twin.is_finished() {
            twin.await??;
            bail!("the twin ended by itself");
        }
        twin.abort();
        broker.close().await;
        return samples;
    }
    let job = job(
        setup,
        folder.path(),
        Keys::both("topic"),
        json!({ "type": "embedded", "path": file }),
    )?;
    let loaded = config::load(&job.write()?, &|_| None);
    let loaded = loaded.map_err(|report| anyhow::anyhow!("{report}"))?;
    let host = Host::start(loaded.config, Compiler::Child(setup.wharf.clone())).await?;
    let brokers = host.views().brokers;
    let broker = brokers.get("b").context("no broker")?;
    let samples = through(&**broker, rate, seconds).await;
    if !host.stop().await.clean() {
        bail!("the host did not stop clean");
    }
    samples
}

async fn through(broker: &dyn Broker, rate: u32, seconds: u32) -> anyhow::Result<Samples> {
    let publish = wire::to_broker(broker.publisher());
    flow(publish, EmbeddedOut::open(broker).await?, rate, seconds).await
}

async fn other_process(setup: &Setup, rate: u32, seconds: u32) -> anyhow::Result<Samples> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("events.db");
    let Place::Embedded { file: path } = Place::embedded(&file) else {
        bail!("another place")
    };
    let job = job(
        setup,
        folder.path(),
        Keys::both("topic"),
        json!({ "type": "embedded", "path": path }),
    )?;
    let running = job.start(setup)?;
    let client = Arc::new(Embedded::open_client("b", &config::Embedded::new(&file))?);
    let publish = wire::to_broker(client.publisher());
    let samples = flow(publish, FileOut::new(Arc::clone(&client)), rate, seconds).await;
    running.stop().await?;
    client.close().await;
    samples
}

/// Publishes and observes. Answers the milliseconds of each message.
async fn flow(
    publish: Publish,
    mut observer: impl Observer,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<Samples> {
    let origin = Instant::now();
    let total = WARM_UP + u64::from(rate * seconds);
    let publishing = async {
        let mut due = Instant::now();
        for seq in 0..total {
            sleep_until(due).await;
            let at = u64::try_from(origin.elapsed().as_nanos())?;
            tokio::spawn(publish(payload(seq, at)));
            let each = if seq < WARM_UP { 100 } else { rate };
            due += Duration::from_secs(1) / each;
        }
        anyhow::Ok(())
    };
    let observing = async {
        let mut samples = Samples::default();
        let mut seen = 0;
        while seen < total {
            for output in observer.next().await? {
                let (seq, at) = read(&output)?;
                let took = origin.elapsed().saturating_sub(Duration::from_nanos(at));
                seen += 1;
                if seq >= WARM_UP {
                    samples.push(took.as_secs_f64() * 1e3);
                }
            }
        }
        anyhow::Ok(samples)
    };
    let both = timeout(PATIENCE, join(publishing, observing)).await;
    let (published, samples) = both.context("not all outputs came")?;
    published?;
    samples
}
