//! `wharf __compile`: one component to native code, in a process of its own.

use std::ffi::OsString;
use std::process::ExitCode;

/// Arguments of `wharf __compile`.
#[derive(Debug, clap::Args)]
#[command(trailing_var_arg = true)]
pub(super) struct Args {
    /// What the host passes on
    #[arg(allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(super) fn main(args: &Args) -> ExitCode {
    match crate::plugin::compile_main(args.arguments.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
