//! The host's own work per message: dispatch over a source that always has messages, in this process.
//!
//! | measured, as CPU of the whole process | what is in it |
//! |---|---|
//! | whole | messages made, fetched, dispatched, handled, committed and settled |
//! | made | the loop that makes and drops the messages: a broker's client would |
//! | bare | the engine alone calling the guest in a loop, one caller a core |
//! | call | the same calls through the plugin room |
//! | own | whole − made − bare |
//!
//! Everything that is subtracted is measured with all cores busy, as they are in `whole`: two busy cores take more
//! processor time for the same work than one. A flush takes the source a millisecond, as it takes a broker on the same
//! machine; one that took no time would make every message a batch of its own.
//! Rounds go through all handlers in turns, and the difference is taken within a round.

mod bare;
mod endless;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use wharf::dispatch::PluginLine;
use wharf::handler::{AttemptInfo, Handled, Handler, Outcome};
use wharf::message::Message;
use wharf::plugin::Compiler;

use self::bare::Bare;
use self::endless::{CAPABILITIES, message, template};
use crate::guest_host::{GuestHost, cores};
use crate::process::own_cpu;
use crate::report::{Report, Table, progress};
use crate::setup::Setup;
use crate::stats::Samples;

/// What a first attempt is told.
const FIRST: AttemptInfo = AttemptInfo {
    attempt: 1,
    max_attempts: 4,
};
const PATIENCE: Duration = Duration::from_secs(120);

/// Accepts everything, without Wasm.
struct Nothing(Arc<str>);

impl Handler for Nothing {
    fn handle<'a>(&'a self, _: &'a Message, _: AttemptInfo) -> BoxFuture<'a, Handled> {
        Box::pin(async move {
            Handled {
                version: Arc::clone(&self.0),
                result: Ok(Outcome::Done(Vec::new())),
            }
        })
    }
}

#[derive(Default)]
struct Shown {
    whole: Samples,
    made: Samples,
    bare: Samples,
    call: Samples,
    own: Samples,
    rate: Samples,
}

pub(crate) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let host = GuestHost::start(Compiler::InProcess)?;
    let nothing: Arc<dyn Handler> = Arc::new(Nothing("".into()));
    let (noop, echo) = (setup.guest("noop")?, setup.guest("json-echo")?);
    let (bare_noop, bare_echo) = (Bare::load(&noop)?, Bare::load(&echo)?);
    let noop = host.add("noop", &noop).await?;
    let echo = host.add("json-echo", &echo).await?;
    let handlers: [(&str, Arc<dyn Handler>, Option<Bare>); 3] = [
        ("no-op closure, no Wasm", nothing, None),
        ("guest noop", noop, Some(bare_noop)),
        ("guest json-echo, one output", echo, Some(bare_echo)),
    ];

    let messages = setup.pick(400_000, 50_000);
    let rounds = setup.rounds(9);
    let mut shown: [Shown; 3] = Default::default();
    for round in 0..=rounds {
        for ((name, handler, bare), shown) in handlers.iter().zip(&mut shown) {
            progress(&format!("dispatch, round {round} of {rounds}: {name}"));
            let made = making(&host, messages).await?;
            let call = calling(&host, handler, messages).await?;
            let bare = match bare {
                Some(bare) => {
                    let before = own_cpu()?;
                    let message = message(&template(), 0);
                    bare.call(host.runtime.handle(), &message, messages).await?;
                    micros(before, messages)?
                }
                None => call,
            };
            let (whole, rate) = dispatching(&host, handler, messages).await?;
            // The first round warms up.
            if round > 0 {
                shown.made.push(made);
                shown.bare.push(bare);
                shown.call.push(call);
                shown.whole.push(whole);
                shown.own.push(whole - made - bare);
                shown.rate.push(rate);
            }
        }
    }
    let title = format!(
        "Host's own CPU, µs per message: {messages} messages, {rounds} rounds, median (least-most)"
    );
    let mut table = Table::new(
        title,
        &["handler", "own", "whole", "made", "bare", "call", "msg/s"],
    );
    for ((name, _, _), shown) in handlers.iter().zip(&shown) {
        let columns = [
            &shown.own,
            &shown.whole,
            &shown.made,
            &shown.bare,
            &shown.call,
        ];
        let columns = columns.map(|samples| samples.text(2));
        table.row(
            [(*name).to_owned()]
                .into_iter()
                .chain(columns)
                .chain([shown.rate.text(0)]),
        );
    }
    table.note("own = whole − made − bare, within a round. CPU is that of all threads, in steps of 10 ms a run.");
    report.table(&table)
}

/// Microseconds of CPU a message since `before`.
fn micros(before: Duration, messages: u64) -> anyhow::Result<f64> {
    Ok((own_cpu()? - before).as_secs_f64() * 1e6 / messages as f64)
}

/// Runs `one` on every core, each for its part of the messages. Answers microseconds of CPU a message.
async fn on_all_cores<F>(
    host: &GuestHost,
    messages: u64,
    one: impl Fn(u64) -> F,
) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let before = own_cpu()?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..cores() {
        tasks.spawn_on(one(messages / cores() as u64), host.runtime.handle());
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    micros(before, messages)
}

async fn making(host: &GuestHost, messages: u64) -> anyhow::Result<f64> {
    let one = |part| async move {
        let template = template();
        for seq in 0..part {
            black_box(message(&template, seq));
        }
        Ok(())
    };
    on_all_cores(host, messages, one).await
}

async fn calling(
    host: &GuestHost,
    handler: &Arc<dyn Handler>,
    messages: u64,
) -> anyhow::Result<f64> {
    let one = |part| {
        let handler = Arc::clone(handler);
        async move {
            let message = message(&template(), 0);
            for _ in 0..part {
                let handled = handler.handle(&message, FIRST).await;
                match handled.result {
                    Ok(Outcome::Done(outputs)) => drop(black_box(outputs)),
                    other => bail!("the guest did not handle the message: {other:?}"),
                }
                tokio::task::consume_budget().await;
            }
            Ok(())
        }
    };
    on_all_cores(host, messages, one).await
}

async fn dispatching(
    host: &GuestHost,
    handler: &Arc<dyn Handler>,
    messages: u64,
) -> anyhow::Result<(f64, f64)> {
    let dispatcher = host.dispatcher();
    let (subscribed, inbox, settled) = endless::subscribe(messages);
    let line = host.line(CAPABILITIES, subscribed, inbox)?;
    let plugin = PluginLine {
        handler: Arc::clone(handler),
        workers: cores(),
        breaker: None,
    };
    let (before, began) = (own_cpu()?, Instant::now());
    let _running = dispatcher.start(plugin, vec![line]);
    let all = timeout(PATIENCE, settled.notified()).await;
    all.context("not all messages were settled")?;
    let cpu = micros(before, messages)?;
    let rate = messages as f64 / began.elapsed().as_secs_f64();
    if !dispatcher.drain(Duration::from_secs(5)).await.clean() {
        bail!("dispatch did not end clean");
    }
    Ok((cpu, rate))
}
