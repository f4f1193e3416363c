//! The host's peak memory over the orders of the demo: the shipped messages, both versions of their handler, retries
//! and dead letters included.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use wharf::broker::embedded::Embedded;
use wharf::commit::Publication;
use wharf::config;
use wharf::message::{Header, Outgoing};
use wharf::ports::Broker;

use crate::hosts::{Job, Keys};
use crate::report::{Report, Table, progress};
use crate::setup::Setup;
use crate::stats::Samples;
use crate::twin;

/// The messages of the example.
const MESSAGES: &str = include_str!("../../examples/orders/messages.jsonl");
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let rounds = setup.rounds(3);
    let mut peak = Samples::default();
    let mut outcome = (0, 0);
    for round in 1..=rounds {
        progress(&format!("memory, round {round} of {rounds}"));
        let (bytes, priced, dead) = once(setup).await?;
        peak.push(bytes as f64 / f64::from(1 << 20));
        outcome = (priced, dead);
    }
    let mut table = Table::new(
        format!(
            "Peak memory of the host over the demo's orders, MiB: {rounds} rounds, median (least-most)"
        ),
        &["peak resident", "messages", "priced", "dead letters"],
    );
    let messages = MESSAGES.lines().count();
    table.row([
        peak.text(0),
        messages.to_string(),
        outcome.0.to_string(),
        outcome.1.to_string(),
    ]);
    report.table(&table)
}

/// One host's life. Answers its peak in bytes, priced orders and dead letters.
async fn once(setup: &Setup) -> anyhow::Result<(u64, u64, u64)> {
    let folder = tempfile::tempdir()?;
    let component = folder.path().join("orders.wasm");
    std::fs::copy(setup.guest("orders")?, &component)?;
    let file = folder.path().join("events.db");
    let client = Embedded::open_client("b", &config::Embedded::new(&file))?;
    fill(&client).await?;
    let job = Job {
        folder: folder.path(),
        broker: json!({ "type": "embedded", "path": file }),
        keys: Keys::both("topic"),
        group: Some("bench".into()),
        component: component.clone(),
        outputs: &["priced", "audit"],
        plugin: json!({ "retry": { "initial_interval": "200ms", "max_interval": "1s" } }),
    };
    let mut running = job.start(setup)?;
    sleep(Duration::from_secs(1)).await;
    // The fixed version comes while messages wait for their retries.
    let beside = folder.path().join("orders.new");
    std::fs::copy(setup.guest("orders-fixed")?, &beside)?;
    std::fs::rename(&beside, &component)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        running.check()?;
        // A group that nobody has made yet has nothing before it either: what came out has to add up as well.
        let left = client.depth("in", "bench").await?;
        let ended = client.last_seq("priced").await? + client.last_seq("dlq.in.bench").await?;
        if left.waiting + left.pending == 0 && ended >= MESSAGES.lines().count() as u64 {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{ended} ended, messages are left: {left:?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
    let peak = running.usage()?.peak;
    running.stop().await?;
    let (priced, dead) = (
        client.last_seq("priced").await?,
        client.last_seq("dlq.in.bench").await?,
    );
    ensure!(
        priced + dead == MESSAGES.lines().count() as u64,
        "{priced} priced and {dead} dead do not add up"
    );
    client.close().await;
    Ok((peak, priced, dead))
}

async fn fill(client: &Embedded) -> anyhow::Result<()> {
    let to = twin::destination("in");
    let publications = MESSAGES.lines().map(|line| {
        let line: Value = serde_json::from_str(line).context("a line of the example")?;
        Ok(Publication {
            destination: to.clone(),
            message: outgoing(&line),
        })
    });
    let publications = publications.collect::<anyhow::Result<Vec<_>>>()?;
    for chunk in publications.chunks(500) {
        let batch: Vec<&Publication> = chunk.iter().collect();
        for result in client.publisher().publish(&batch).await {
            result?;
        }
    }
    Ok(())
}

/// The few payloads that are no text are published as the text of their base64: no order either way.
fn outgoing(line: &Value) -> Outgoing {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    let payload = text("payload_text")
        .or_else(|| text("payload_base64"))
        .unwrap_or_else(|| line["payload"].to_string());
    let headers = line["headers"].as_object().into_iter().flatten();
    Outgoing {
        key: text("key").map(Into::into),
        headers: headers
            .filter_map(|(name, value)| Some(Header::text(name.as_str(), value.as_str()?)))
            .collect(),
        payload: payload.into(),
        ..Outgoing::default()
    }
}
