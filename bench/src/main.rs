//! Programs that measure the host and print tables. They are never tests: a figure is a ratio from one interleaved run
//! on one machine, with what else the machine did beside it.
//!
//! Everything is measured from outside: rates by counting outputs at the broker, CPU and memory from `/proc`. Every
//! run reads its outputs back and fails where one is missing or there twice, so no figure comes from work not done.

mod dispatch;
mod envelope;
mod guest_host;
mod hosts;
mod latency;
// Shared with the guest, where it is public.
#[allow(unreachable_pub)]
#[path = "../../tests/guests/json-echo/src/logic.rs"]
mod logic;
mod machine;
mod memory;
mod payload;
mod process;
mod report;
mod setup;
mod stage;
mod stats;
mod swap;
mod throughput;
mod twin;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::report::Report;
use self::setup::Setup;
use self::stage::Kind;

/// Measure Wharf against the same work done natively.
#[derive(Debug, Parser)]
#[command(name = "wharf-bench", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    /// Short runs, some minutes for all of them: to see that it works, not for figures
    #[arg(long, global = true)]
    quick: bool,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// The host to measure; without it, the `wharf` beside this program
    #[arg(long, global = true)]
    wharf: Option<PathBuf>,
    /// Where `make guests` put the components; without it, `guests` in the target folder
    #[arg(long, global = true)]
    guests: Option<PathBuf>,
    /// Rounds of each interleaved comparison
    #[arg(long, global = true)]
    rounds: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Program {
    /// The host's own microseconds per message
    Dispatch,
    /// Throughput on Redis streams against the native twin
    Redis,
    /// Throughput on Redis lists against the native twin
    RedisLists,
    /// Throughput on the embedded broker against the native twin
    Embedded,
    /// Throughput on Kafka against the native twin
    Kafka,
    /// Throughput on a quorum queue of RabbitMQ against the native twin
    RabbitmqQuorum,
    /// Throughput on a classic queue of RabbitMQ against the native twin
    RabbitmqClassic,
    /// Throughput on NATS JetStream against the native twin
    Jetstream,
    /// Throughput on subjects of NATS outside of streams against the native twin
    CoreNats,
    /// From publishing to the output seen, at 100 and 1,000 messages a second
    Latency {
        /// On these only; without any, on all
        brokers: Vec<latency::On>,
    },
    /// Swaps of a handler under 2,000 messages a second
    Swap,
    /// The host's peak memory over the orders of the demo
    Memory,
    /// All of them
    All,
}

impl Program {
    const EACH: [Self; 12] = [
        Self::Dispatch,
        Self::Redis,
        Self::RedisLists,
        Self::Embedded,
        Self::Kafka,
        Self::RabbitmqQuorum,
        Self::RabbitmqClassic,
        Self::Jetstream,
        Self::CoreNats,
        Self::Latency {
            brokers: Vec::new(),
        },
        Self::Swap,
        Self::Memory,
    ];

    async fn run(self, setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Dispatch => dispatch::run(setup, report).await,
            Self::Redis => throughput::redis(setup, report).await,
            Self::RedisLists => throughput::redis_lists(setup, report).await,
            Self::Embedded => throughput::embedded(setup, report).await,
            Self::Kafka => throughput::kafka(setup, report).await,
            Self::RabbitmqQuorum => throughput::rabbitmq(setup, report, Kind::Quorum).await,
            Self::RabbitmqClassic => throughput::rabbitmq(setup, report, Kind::Classic).await,
            Self::Jetstream => throughput::jetstream(setup, report).await,
            Self::CoreNats => throughput::core_nats(setup, report).await,
            Self::Latency { brokers } => latency::run(setup, report, &brokers).await,
            Self::Swap => swap::run(setup, report).await,
            Self::Memory => memory::run(setup, report).await,
            Self::All => {
                for program in Self::EACH {
                    Box::pin(program.run(setup, report)).await?;
                }
                Ok(())
            }
        }
    }
}

fn main() -> ExitCode {
    // Before clap: the twin is this program again, with arguments of its own.
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(twin::COMMAND) {
        return outcome(twin::main(arguments.collect()));
    }
    outcome(measure(Cli::parse()))
}

fn measure(cli: Cli) -> anyhow::Result<()> {
    let setup = Setup::new(cli.quick, cli.rounds, cli.wharf, cli.guests)?;
    // As many threads as `wharf run` gives its brokers.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut report = Report::new(cli.json);
    let began = machine::Moment::now()?;
    let done = runtime.block_on(Box::pin(cli.program.run(&setup, &mut report)));
    runtime.shutdown_background();
    done?;
    report.machine(&machine::line(&began)?)
}

fn outcome(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
