//! From publishing a message to seeing its output, at rates far from the limit. Open loop: a message is published when
//! its time has come, whatever became of those before it. Host and twin take turns, on one broker after the other.
//!
//! Publisher and observer are this process, the broker's server is another and so is the host. The embedded broker is
//! measured inside the process that owns the file, where publishing wakes the reader; and once from another process,
//! where the owner looks at the file every 20 ms, and so does the observer.

mod embedded;
mod flow;
mod wire;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::json;

use self::embedded::Way;
use self::flow::flow;
use self::wire::Wired;
use crate::hosts::{Job, Keys};
use crate::report::{Report, Table, progress};
use crate::setup::Setup;
use crate::stage::{
    CoreNatsStage, JetStreamStage, KafkaStage, Kind, RabbitStage, RedisListsStage, RedisStage, end,
};
use crate::stats::Samples;
use crate::twin::{self, Work};

/// Messages a second.
const RATES: [u32; 2] = [100, 1000];

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    Redis,
    RedisLists,
    Embedded,
    Kafka,
    RabbitmqQuorum,
    Jetstream,
    CoreNats,
}

#[derive(Default)]
struct Shown {
    p50: Samples,
    p99: Samples,
}

pub(crate) async fn run(setup: &Setup, report: &mut Report, asked: &[On]) -> anyhow::Result<()> {
    let mut turns = Turns::new(setup);
    let brokers = match asked {
        [] => On::value_variants(),
        some => some,
    };
    for broker in brokers {
        Box::pin(turns.on(*broker)).await?;
    }
    report.table(&turns.table)
}

/// Rounds on one broker after the other, and the table of all of them.
struct Turns<'a> {
    setup: &'a Setup,
    rounds: usize,
    seconds: u32,
    table: Table,
}

impl<'a> Turns<'a> {
    fn new(setup: &'a Setup) -> Self {
        let seconds = setup.pick(8, 1);
        let rounds = setup.rounds(5);
        let title = format!(
            "From publishing to the output seen, json-echo, ms: {rounds} rounds of {seconds} s, median (least-most)"
        );
        Self {
            setup,
            rounds,
            seconds,
            table: Table::new(title, &["way", "msg/s", "p50", "p99"]),
        }
    }

    async fn on(&mut self, broker: On) -> anyhow::Result<()> {
        match broker {
            On::Redis => self.server(RedisStage::filled(0).await?).await,
            On::RedisLists => self.server(RedisListsStage::filled(0).await?).await,
            On::Embedded => {
                let (setup, seconds) = (self.setup, self.seconds);
                let ways = Way::ALL.map(|(way, name)| (way, name.to_owned()));
                self.take(&ways, async |way, rate| {
                    embedded::measure(setup, way, rate, seconds).await
                })
                .await
            }
            On::Kafka => self.server(KafkaStage::filled(0).await?).await,
            On::RabbitmqQuorum => {
                let stage = RabbitStage::start(Kind::Quorum, 0).await?;
                self.server(stage).await
            }
            On::Jetstream => self.server(JetStreamStage::filled(0).await?).await,
            On::CoreNats => self.server(CoreNatsStage::start(0).await?).await,
        }
    }

    async fn server<S: Wired>(&mut self, mut stage: S) -> anyhow::Result<()> {
        let (setup, seconds) = (self.setup, self.seconds);
        let name = stage.name();
        let ways = [
            (false, format!("{name}, twin")),
            (true, format!("{name}, host")),
        ];
        self.take(&ways, async |host, rate| {
            through(setup, &mut stage, host, rate, seconds).await
        })
        .await
    }

    /// All ways in turns, at each of the rates.
    async fn take<W: Copy>(
        &mut self,
        ways: &[(W, String)],
        mut measure: impl AsyncFnMut(W, u32) -> anyhow::Result<Samples>,
    ) -> anyhow::Result<()> {
        let each = || {
            let ways = |rate| ways.iter().map(move |way| (rate, way));
            RATES.into_iter().flat_map(ways)
        };
        let mut shown: Vec<Shown> = each().map(|_| Shown::default()).collect();
        let rounds = self.rounds;
        for round in 1..=rounds {
            for ((rate, (way, name)), shown) in each().zip(&mut shown) {
                progress(&format!(
                    "latency, round {round} of {rounds}: {name}, {rate} msg/s"
                ));
                let one = measure(*way, rate).await;
                let one = one.with_context(|| name.clone())?;
                shown.p50.push(one.quantile(0.5));
                shown.p99.push(one.quantile(0.99));
            }
        }
        for ((rate, (_, name)), shown) in each().zip(&shown) {
            self.table.row([
                name.clone(),
                rate.to_string(),
                shown.p50.text(2),
                shown.p99.text(2),
            ]);
        }
        Ok(())
    }
}

/// The host of one run: out of the box.
fn job<'a>(
    setup: &Setup,
    folder: &'a std::path::Path,
    keys: Keys,
    broker: serde_json::Value,
    group: Option<String>,
) -> anyhow::Result<Job<'a>> {
    Ok(Job {
        folder,
        broker,
        keys,
        group,
        component: setup.guest(Work::Echo.name())?,
        outputs: &["out"],
        plugin: json!({}),
    })
}

/// One run through a broker's server.
async fn through<S: Wired>(
    setup: &Setup,
    stage: &mut S,
    host: bool,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<Samples> {
    stage.prepare().await?;
    stage.empty().await?;
    let folder = stage.folder();
    let mut running = match host {
        true => job(setup, &folder, S::KEYS, stage.broker(), stage.group())?.start(setup)?,
        false => twin::start(&stage.place(), Work::Echo)?,
    };
    stage.begin().await?;
    let samples = flow(stage.publish()?, stage.observe().await?, rate, seconds).await;
    running.check()?;
    end::<S>(running, host).await?;
    samples
}
