//! `wharf completions`: what a shell needs to complete our commands.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::failure::Result;

/// Arguments of `wharf completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  wharf completions bash > /etc/bash_completion.d/wharf")]
pub(super) struct Args {
    /// For which shell
    shell: Shell,
}

pub(super) fn main(args: &Args) -> Result<()> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "wharf", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
