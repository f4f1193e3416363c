//! The command line: one file per command, and the exit codes they share.
//!
//! 0 success, 1 failure, 64 wrong usage, 78 bad configuration (`sysexits.h`).

mod compile;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wrong usage (EX_USAGE).
const USAGE: u8 = 64;
/// Bad configuration (EX_CONFIG).
const CONFIG: u8 = 78;

/// A WebAssembly plugin host for message handlers.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Consume, dispatch, publish, until told to stop
    Run(run::Args),
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
            let code = if error.use_stderr() { USAGE } else { 0 };
            // A closed pipe is no reason to fail.
            let _printed = error.print().is_ok();
            return ExitCode::from(code);
        }
    };
    match cli.command {
        Command::Run(args) => run::main(args),
        Command::Compile(args) => compile::main(&args),
    }
}
