//! How many messages a second, host against twin, one run after the other in turns.
//!
//! All messages are there before a run begins, but where a broker keeps none: there they are published meanwhile. A rate is taken between the moments at which a tenth and nine tenths of
//! the outputs were counted, so that neither start nor end is in it; so are CPU and the server's CPU. Every run is
//! checked: each message has one output, and nothing is left unsettled. Only where a message may be lost, some may be missing,
//! and are counted.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::hosts::Job;
use crate::process::{Running, Usage};
use crate::report::{Report, Table, progress};
use crate::setup::Setup;
use crate::stage::{
    CoreNatsStage, EmbeddedStage, JetStreamStage, KafkaStage, Kind, RabbitStage, RedisListsStage,
    RedisStage, Stage, end,
};
use crate::stats::Samples;
use crate::twin::{self, Work};

/// How often outputs are counted.
const COUNT: Duration = Duration::from_millis(10);
/// Longest time without a new output.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is measured.
struct Contender {
    name: &'static str,
    work: Work,
    /// What the plugin's configuration says beyond what it must; `None` is the twin.
    host: Option<Value>,
}

fn contenders(best: Value) -> Vec<Contender> {
    let one = |name, work, host| Contender { name, work, host };
    vec![
        one("twin, json-echo", Work::Echo, None),
        one(
            "host, out of the box, json-echo",
            Work::Echo,
            Some(json!({})),
        ),
        one(
            "host, best settings, json-echo",
            Work::Echo,
            Some(best.clone()),
        ),
        one(
            "host, isolation: message, json-echo",
            Work::Echo,
            Some(json!({ "isolation": "message" })),
        ),
        one("twin, identity", Work::Identity, None),
        one(
            "host, out of the box, identity",
            Work::Identity,
            Some(json!({})),
        ),
        one("host, best settings, identity", Work::Identity, Some(best)),
    ]
}

/// What one run showed.
#[derive(Debug, Default)]
struct Shown {
    rate: Samples,
    /// Of the twin with the same work in the same round.
    of_twin: Samples,
    /// Microseconds a message.
    cpu: Samples,
    server: Samples,
    /// MiB.
    peak: Samples,
    /// Messages, in all rounds.
    lost: u64,
}

/// What is called the best settings: a larger window than out of the box has.
fn best(concurrency: u32) -> Value {
    json!({ "concurrency": concurrency, "concurrency_bytes": "64MiB" })
}

pub(crate) async fn redis(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let messages = setup.pick(200_000, 20_000);
    let stage = RedisStage::filled(messages).await?;
    compare(setup, report, stage, messages, best(2048)).await
}

pub(crate) async fn redis_lists(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let messages = setup.pick(200_000, 20_000);
    let stage = RedisListsStage::filled(messages).await?;
    compare(setup, report, stage, messages, best(2048)).await
}

pub(crate) async fn embedded(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let messages = setup.pick(100_000, 10_000);
    let stage = EmbeddedStage::filled(messages).await?;
    compare(setup, report, stage, messages, best(2048)).await
}

pub(crate) async fn kafka(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let messages = setup.pick(400_000, 40_000);
    let stage = KafkaStage::filled(messages).await?;
    compare(setup, report, stage, messages, best(4096)).await
}

/// A queue is empty when it was read, so it is filled before each run.
pub(crate) async fn rabbitmq(setup: &Setup, report: &mut Report, kind: Kind) -> anyhow::Result<()> {
    let messages = setup.pick(100_000, 10_000);
    let stage = RabbitStage::start(kind, messages).await?;
    compare(setup, report, stage, messages, best(2048)).await
}

pub(crate) async fn jetstream(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let messages = setup.pick(200_000, 20_000);
    let stage = JetStreamStage::filled(messages).await?;
    compare(setup, report, stage, messages, best(2048)).await
}

/// A subject keeps nothing, so messages are published while they are read.
pub(crate) async fn core_nats(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let messages = setup.pick(200_000, 20_000);
    let stage = CoreNatsStage::start(messages).await?;
    compare(setup, report, stage, messages, best(2048)).await
}

async fn compare<S: Stage>(
    setup: &Setup,
    report: &mut Report,
    mut stage: S,
    messages: u64,
    best: Value,
) -> anyhow::Result<()> {
    let rounds = setup.rounds(5);
    let contenders = contenders(best.clone());
    let mut shown: Vec<Shown> = contenders.iter().map(|_| Shown::default()).collect();
    for round in 1..=rounds {
        let mut twin = f64::NAN;
        for (contender, shown) in contenders.iter().zip(&mut shown) {
            progress(&format!(
                "{}, round {round} of {rounds}: {}",
                stage.name(),
                contender.name
            ));
            stage.prepare().await?;
            let running = start(setup, &stage, contender)?;
            let one = measure(&mut stage, running, messages, contender.host.is_some()).await;
            let (from, to, lost) = one.with_context(|| contender.name)?;
            let done = (to.outputs - from.outputs) as f64;
            let rate = done / (to.at - from.at).as_secs_f64();
            if contender.host.is_none() {
                twin = rate;
            }
            let micros = |from: Duration, to: Duration| (to - from).as_secs_f64() * 1e6 / done;
            shown.rate.push(rate);
            shown.of_twin.push(rate / twin);
            shown.cpu.push(micros(from.usage.cpu, to.usage.cpu));
            shown.server.push(micros(from.server, to.server));
            shown.peak.push(to.usage.peak as f64 / f64::from(1 << 20));
            shown.lost += lost;
        }
    }
    report.table(&table(
        &stage,
        &contenders,
        &shown,
        (messages, rounds),
        &best,
    ))
}

fn start<S: Stage>(setup: &Setup, stage: &S, contender: &Contender) -> anyhow::Result<Running> {
    let Some(plugin) = &contender.host else {
        return twin::start(&stage.place(), contender.work);
    };
    let job = Job {
        folder: &stage.folder(),
        broker: stage.broker(),
        keys: S::KEYS,
        group: stage.group(),
        component: setup.guest(contender.work.name())?,
        outputs: &["out"],
        plugin: plugin.clone(),
    };
    job.start(setup)
}

/// How far it was, when, and what it had used.
struct Mark {
    at: Instant,
    outputs: u64,
    usage: Usage,
    server: Duration,
}

impl Mark {
    fn now<S: Stage>(stage: &S, running: &Running, outputs: u64) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            outputs,
            usage: running.usage()?,
            server: stage
                .server()
                .map(Usage::of)
                .transpose()?
                .map_or(Duration::ZERO, |server| server.cpu),
        })
    }
}

async fn measure<S: Stage>(
    stage: &mut S,
    mut running: Running,
    messages: u64,
    is_host: bool,
) -> anyhow::Result<(Mark, Mark, u64)> {
    stage.begin().await?;
    let from = reach(stage, &mut running, messages / 10).await?;
    let to = reach(stage, &mut running, messages - messages / 10).await?;
    ensure!(
        to.outputs > from.outputs,
        "too few messages to measure this rate"
    );
    reach(stage, &mut running, messages).await?;
    end::<S>(running, is_host).await?;
    Ok((from, to, stage.check().await?))
}

async fn reach<S: Stage>(
    stage: &mut S,
    running: &mut Running,
    wanted: u64,
) -> anyhow::Result<Mark> {
    let mut seen = (0, Instant::now());
    loop {
        running.check()?;
        let outputs = stage.outputs().await?;
        if outputs >= wanted {
            return Mark::now(stage, running, outputs);
        }
        if outputs > seen.0 {
            seen = (outputs, Instant::now());
        }
        ensure!(
            seen.1.elapsed() < PATIENCE,
            "it stands still after {outputs} outputs"
        );
        sleep(COUNT).await;
    }
}

fn table<S: Stage>(
    stage: &S,
    contenders: &[Contender],
    shown: &[Shown],
    (messages, rounds): (u64, usize),
    best: &Value,
) -> Table {
    let mut columns = vec![
        "contender",
        "msg/s",
        "of the twin",
        "CPU µs/msg",
        "server CPU µs/msg",
        "peak MiB",
    ];
    if S::MAY_LOSE {
        columns.push("lost");
    }
    let title = format!(
        "Throughput, {}: {messages} messages, {rounds} rounds, median (least-most)",
        stage.name()
    );
    let mut table = Table::new(title, &columns);
    for (contender, shown) in contenders.iter().zip(shown) {
        let server = match shown.server.median() {
            0.0 => "in the process".to_owned(),
            _ => shown.server.text(1),
        };
        let mut cells = vec![
            contender.name.to_owned(),
            shown.rate.text(0),
            shown.of_twin.text(2),
            shown.cpu.text(1),
            server,
            shown.peak.text(0),
        ];
        if S::MAY_LOSE {
            let answered = messages * rounds as u64;
            cells.push(format!("{} of {}", shown.lost, answered + shown.lost));
        }
        table.row(cells);
    }
    table.note(format!("Best settings: `{best}`."));
    for work in [Work::Echo, Work::Identity] {
        let rate = |settings: &Value| {
            let mut all = contenders.iter().zip(shown);
            let it = all.find(|(c, _)| c.work == work && c.host.as_ref() == Some(settings));
            it.map(|(_, shown)| &shown.rate)
        };
        if let (Some(plain), Some(best)) = (rate(&json!({})), rate(best)) {
            let (name, share) = (work.name(), plain.of(best).text(2));
            table.note(format!(
                "Out of the box, of the best settings, {name}: {share}."
            ));
        }
    }
    table
}
