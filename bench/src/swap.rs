//! Swaps of a handler under load: what they cost the messages that come meanwhile.
//!
//! 2,000 messages a second go through the embedded broker in this process. In every second window a new component file
//! is renamed into place, as a deployment does it, and the watcher takes it up; the windows between are the control.
//! The figure is the longest time between two handled messages in a window.

mod stamps;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use wharf::broker::embedded::Embedded;
use wharf::config;
use wharf::delivery::Inbox;
use wharf::dispatch::{Dispatcher, PluginLine};
use wharf::place::PlaceKind;
use wharf::plugin::{Compiler, PluginHandle, Watcher};
use wharf::ports::Broker;

use self::stamps::Stamping;
use crate::guest_host::{GuestHost, cores};
use crate::payload::payload;
use crate::report::{Report, Table, progress};
use crate::setup::Setup;
use crate::stage::{complete, publish};
use crate::stats::Samples;
use crate::twin;

/// Between two publications, and how many messages each has: 2,000 a second.
const TICK: Duration = Duration::from_millis(1);
const EACH: u64 = 2;
/// From the begin of a window to the rename.
const BEFORE: Duration = Duration::from_millis(200);
/// What is waited for everything to be handled at the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A new version each time, or the same two in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versions {
    Two,
    New,
}

impl Versions {
    /// A window holds the notification, 150 ms until the file counts as whole, and the load.
    fn window(self) -> Duration {
        match self {
            Self::Two => Duration::from_millis(1500),
            Self::New => Duration::from_millis(4000),
        }
    }
}

pub(crate) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let swaps = setup.pick(20, 3);
    let mut table = Table::new(
        format!(
            "Longest time between two handled messages, ms: 2,000 msg/s, {swaps} windows each, median (least-most)"
        ),
        &[
            "versions",
            "control",
            "with a swap",
            "above control",
            "messages",
            "lost",
            "repeated",
        ],
    );
    for (versions, name) in [
        (Versions::Two, "two in turns, compiled before"),
        (Versions::New, "new each time, compiled meanwhile"),
    ] {
        if setup.quick && versions == Versions::New {
            continue;
        }
        let (control, swapped, messages) = windows(setup, versions, swaps).await?;
        table.row([
            name.to_owned(),
            control.text(1),
            swapped.text(1),
            format!("{:.1}", swapped.median() - control.median()),
            messages.to_string(),
            "0".into(),
            "0".into(),
        ]);
    }
    table.note("Every message was counted by its number in the outputs; a lost or repeated one ends the program.");
    report.table(&table)?;
    report.table(&loads(setup).await?)
}

/// Everything that runs for a series of windows.
struct Line {
    host: GuestHost,
    plugin: Arc<PluginHandle>,
    handled: Arc<Stamping>,
    broker: Arc<Embedded>,
    dispatcher: Dispatcher,
    component: Component,
    _watcher: Watcher,
    _folder: TempDir,
}

impl Line {
    async fn start(setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let component = Component::new(folder.path(), &setup.guest("json-echo")?)?;
        let host = GuestHost::start(Compiler::Child(setup.wharf.clone()))?;
        let plugin = host.add("bench", &component.file).await?;
        let watcher = Watcher::start(&host.catalog);
        let options = config::Embedded::new(folder.path().join("events.db"));
        let broker = Arc::new(Embedded::open_owner("b", &options)?);
        let inbox = Inbox::new();
        let subscribed = broker
            .subscribe(twin::spec("in"), Arc::clone(&inbox))
            .await?;
        let handled = Stamping::new(&plugin);
        let line = host.line(broker.capabilities(PlaceKind::Topic), subscribed, inbox)?;
        let dispatcher = host.dispatcher();
        let crew = PluginLine {
            handler: Arc::clone(&handled) as _,
            workers: cores(),
            breaker: None,
        };
        let _running = dispatcher.start(crew, vec![line]);
        Ok(Self {
            host,
            plugin,
            handled,
            broker,
            dispatcher,
            component,
            _watcher: watcher,
            _folder: folder,
        })
    }

    fn version(&self) -> Option<Arc<str>> {
        self.plugin.status().version.map(|version| version.digest)
    }

    /// Puts a version into place and waits until it runs.
    async fn take_up(&self, number: u32) -> anyhow::Result<()> {
        let before = self.version();
        self.component.put(number)?;
        let deadline = Instant::now() + PATIENCE;
        while self.version() == before {
            ensure!(Instant::now() < deadline, "a new component is not taken up");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// One window. Answers the longest gap in milliseconds.
    async fn window(&self, versions: Versions, swap: Option<u32>) -> anyhow::Result<f64> {
        let (begin, before) = (Instant::now(), self.version());
        sleep_until(begin + BEFORE).await;
        if let Some(number) = swap {
            let number = if versions == Versions::Two {
                number % 2
            } else {
                number
            };
            self.component.put(number)?;
        }
        sleep_until(begin + versions.window()).await;
        ensure!(
            swap.is_some() == (self.version() != before),
            "a swap did not take place within its window, or one did outside"
        );
        self.handled
            .longest_gap(begin, Instant::now())
            .context("too few messages in a window")
    }

    /// Waits until all is handled, stops, and counts outputs.
    async fn finish(self, messages: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.broker.depth("in", "bench").await?;
            if left.waiting + left.pending == 0 {
                break;
            }
            ensure!(Instant::now() < deadline, "messages are left: {left:?}");
            sleep(Duration::from_millis(20)).await;
        }
        if !self.dispatcher.drain(Duration::from_secs(5)).await.clean() {
            bail!("dispatch did not end clean");
        }
        complete(&self.broker, messages).await?;
        self.broker.close().await;
        drop(self.host);
        Ok(())
    }
}

async fn windows(
    setup: &Setup,
    versions: Versions,
    swaps: u32,
) -> anyhow::Result<(Samples, Samples, u64)> {
    let line = Line::start(setup).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(Arc::clone(&line.broker), Arc::clone(&stop)));
    // Both versions are compiled once before it counts.
    for number in [1, 0] {
        line.take_up(number).await?;
    }
    let (mut control, mut swapped) = (Samples::default(), Samples::default());
    for swap in 1..=swaps {
        progress(&format!("swap {swap} of {swaps}, {versions:?}"));
        control.push(line.window(versions, None).await?);
        swapped.push(line.window(versions, Some(swap)).await?);
    }
    stop.store(true, Ordering::Relaxed);
    let messages = load.await??;
    line.finish(messages).await?;
    Ok((control, swapped, messages))
}

/// Publishes until told to stop. Answers how many messages were confirmed: all of them.
async fn load(broker: Arc<Embedded>, stop: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let publisher = broker.publisher();
    let failed = Arc::new(AtomicU64::new(0));
    let mut under_way = tokio::task::JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let publisher = Arc::clone(&publisher);
        let failed = Arc::clone(&failed);
        under_way.spawn(async move {
            if publish(&*publisher, (next..next + EACH).map(|seq| payload(seq, 0)))
                .await
                .is_err()
            {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        });
        while under_way.try_join_next().is_some() {}
        next += EACH;
    }
    while under_way.join_next().await.is_some() {}
    ensure!(
        failed.load(Ordering::Relaxed) == 0,
        "a message could not be published"
    );
    Ok(next)
}

/// A component of which any number of versions can be put into place.
struct Component {
    bytes: Vec<u8>,
    file: PathBuf,
}

impl Component {
    fn new(folder: &Path, original: &Path) -> anyhow::Result<Self> {
        let component = Self {
            bytes: std::fs::read(original)?,
            file: folder.join("handler.wasm"),
        };
        component.put(0)?;
        Ok(component)
    }

    /// The same code with a custom section at its end: a digest, and compiled code, of its own. Renamed into place.
    fn put(&self, number: u32) -> anyhow::Result<()> {
        const NAME: &[u8] = b"bench-version";
        let content = number.to_le_bytes();
        let mut bytes = self.bytes.clone();
        // Custom section: id 0, size, length of its name, name, content. Sizes below 128 are one byte of LEB128.
        bytes.extend([0, (1 + NAME.len() + content.len()) as u8, NAME.len() as u8]);
        bytes.extend(NAME);
        bytes.extend(content);
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, bytes)?;
        Ok(std::fs::rename(beside, &self.file)?)
    }
}

/// How long it takes until a component whose compiled code is in the cache can be called.
async fn loads(setup: &Setup) -> anyhow::Result<Table> {
    let host = GuestHost::start(Compiler::Child(setup.wharf.clone()))?;
    let title = "A component from the compile cache until it can be called, ms: read, hashed, mapped, linked, probed";
    let mut table = Table::new(title, &["component", "KiB", "median (least-most)", "p99"]);
    for name in ["noop", "json-echo", "puppet"] {
        let file = setup.guest(name)?;
        host.add(name, &file).await?;
        let mut samples = Samples::default();
        for again in 0..setup.pick(100, 20) {
            let began = Instant::now();
            host.add(&format!("{name}-{again}"), &file).await?;
            samples.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let size = std::fs::metadata(&file)?.len() / 1024;
        table.row([
            name.to_owned(),
            size.to_string(),
            samples.text(2),
            format!("{:.2}", samples.quantile(0.99)),
        ]);
    }
    Ok(table)
}
