//! What `wharf __compile` does, as a program that tests can name.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match arguments.split_first() {
        Some((command, rest)) if command.as_os_str() == wharf::plugin::COMPILE_COMMAND => {
            wharf::plugin::compile_main(rest)
        }
        _ => ExitCode::from(64),
    }
}
