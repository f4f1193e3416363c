//! The embedded broker, which has no server: in the process that owns the file, and from another one.

use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::json;
use wharf::broker::embedded::Embedded;
use wharf::config;
use wharf::host::{Host, Prepared};
use wharf::plugin::Compiler;
use wharf::ports::Broker;

use super::flow::flow;
use super::job;
use super::wire::{EmbeddedOut, FileOut, to_broker};
use crate::hosts::Keys;
use crate::setup::Setup;
use crate::stats::Samples;
use crate::twin::{self, Place, Work};

/// Who is between publisher and observer, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Twin,
    Host,
    OtherProcess,
}

impl Way {
    pub(super) const ALL: [(Self, &'static str); 3] = [
        (Self::Twin, "embedded, same process, twin"),
        (Self::Host, "embedded, same process, host"),
        (Self::OtherProcess, "embedded, from another process, host"),
    ];
}

pub(super) async fn measure(
    setup: &Setup,
    way: Way,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<Samples> {
    match way {
        Way::Twin | Way::Host => same_process(setup, way == Way::Host, rate, seconds).await,
        Way::OtherProcess => other_process(setup, rate, seconds).await,
    }
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
        Some("bench".into()),
    )?;
    let loaded = config::load(&job.write()?, &|_| None);
    let loaded = loaded.map_err(|report| anyhow::anyhow!("{report}"))?;
    let compiler = Compiler::Child(setup.wharf.clone());
    let host = Host::start(Prepared::new(loaded.config, compiler).await?).await?;
    let brokers = host.views().brokers;
    let broker = brokers.get("b").context("no broker")?;
    let samples = through(&**broker, rate, seconds).await;
    if !host.stop().await.clean() {
        bail!("the host did not stop clean");
    }
    samples
}

async fn through(broker: &dyn Broker, rate: u32, seconds: u32) -> anyhow::Result<Samples> {
    let publish = to_broker(broker.publisher());
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
        Some("bench".into()),
    )?;
    let running = job.start(setup)?;
    let client = Arc::new(Embedded::open_client("b", &config::Embedded::new(&file))?);
    let publish = to_broker(client.publisher());
    let samples = flow(publish, FileOut::new(Arc::clone(&client)), rate, seconds).await;
    running.stop().await?;
    client.close().await;
    samples
}
