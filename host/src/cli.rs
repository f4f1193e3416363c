//! The command line: one file per command, and what they share.
//!
//! Every command answers a [`Failure`] or nothing, and [`main`] turns that into the exit code: 0 success, 1 failure,
//! 64 wrong usage, 78 bad configuration (`sysexits.h`). What a command is asked for goes to standard output, everything
//! about the asking (errors, warnings, progress, the log) to standard error, so that output can be piped. With `--json`
//! standard output is one JSON object per line and nothing else.
//!
//! Commands are processes of their own and never the host's: they open brokers as clients, beside a running host.

mod client;
mod compile;
mod completions;
mod config;
mod dlq;
mod failure;
mod inspect;
mod line;
mod output;
mod payload;
mod progress;
mod publish;
mod record;
mod run;
mod schema;
mod table;
mod tail;
mod test;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::{Failure, Result};

/// A WebAssembly plugin host for message handlers.
#[derive(Debug, Parser)]
#[command(
    name = "wharf",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 success, 1 failure, 64 wrong usage, 78 bad configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume, dispatch, publish, until told to stop
    Run(run::Args),
    /// Say everything that is wrong with a configuration
    Validate(validate::Args),
    /// Publish one message, or a file of them
    Publish(Box<publish::Args>),
    /// Show the newest messages of a topic or stream, without consuming them
    Tail(tail::Args),
    /// Dead letters: what could not be handled, why, and what to do with it
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Show what a component is and what it needs
    Inspect(inspect::Args),
    /// Run messages through a handler, without a broker
    Test(Box<test::Args>),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print completions for a shell
    Completions(completions::Args),
    /// Compile one component (used by the host itself, in a process of its own)
    #[command(name = "__compile", hide = true)]
    Compile(compile::Args),
}

/// Parses the command line, runs the command, answers the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                failure::USAGE
            } else {
                0
            };
            // A closed pipe is no reason to fail.
            let _printed = error.print().is_ok();
            return ExitCode::from(code);
        }
    };
    let done = match cli.command {
        Command::Run(args) => return run::main(args),
        Command::Compile(args) => return compile::main(&args),
        Command::Validate(args) => validate::main(&args),
        Command::Publish(args) => publish::main(*args),
        Command::Tail(args) => tail::main(args),
        Command::Dlq(command) => dlq::main(command),
        Command::Inspect(args) => inspect::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Schema => schema::main(),
        Command::Completions(args) => completions::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Runs a command's future. One thread is enough: commands wait for brokers and files.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no runtime: {error}")))?;
    let done = runtime.block_on(work);
    // A read of standard input may never end.
    runtime.shutdown_background();
    done
}
