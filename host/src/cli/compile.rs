//! `wharf __compile`: one component to native code, in a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `wharf __compile`.
#[derive(Debug, clap::Args)]
#[command(trailing_var_arg = true)]
pub(super) struct Args {
    /// What the host passes on
    #[arg(allow_hyphen_values = true)]
    arguments: Vec<PathBuf>,
}

pub(super) fn main(args: &Args) -> ExitCode {
    crate::plugin::compile_main(&args.arguments)
}
