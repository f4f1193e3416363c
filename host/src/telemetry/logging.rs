//! The log: pretty on a terminal, JSON otherwise, always on standard error so that standard output stays a command's own.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use crate::config::{Log, LogFormat};

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is not one.
    #[error("log level `{0}`: {1}")]
    Level(String, tracing_subscriber::filter::ParseError),
    /// Somebody else took it.
    #[error("the log is already set up: {0}")]
    Taken(#[from] TryInitError),
}

/// A level, without the clients that call errors what their adapters ask for: whether a queue is there, say. The adapters
/// say what is wrong in their own words. Somebody who names such a client gets what they asked for.
fn quiet(level: &str) -> String {
    let loud = ["lapin"]
        .into_iter()
        .filter(|client| !level.contains(client));
    let off = loud.map(|client| format!(",{client}=off"));
    std::iter::once(level.to_owned()).chain(off).collect()
}

/// Sets the process's log up. `RUST_LOG` wins over the configured level.
///
/// # Errors
/// When the level cannot be parsed, or a log is already set up.
pub fn init(log: &Log) -> Result<(), Error> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| log.level.clone());
    let filter = EnvFilter::try_new(quiet(&level)).map_err(|e| Error::Level(level, e))?;
    let terminal = std::io::stderr().is_terminal();
    let pretty = match log.format {
        Some(LogFormat::Pretty) => true,
        Some(LogFormat::Json) => false,
        None => terminal,
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    let base = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if pretty {
        base.with_ansi(colours)
            .with_target(false)
            .finish()
            .try_init()?;
    } else {
        base.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .try_init()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::quiet;

    #[test]
    fn clients_that_shout_are_heard_by_those_who_name_them() {
        assert_eq!(quiet("info"), "info,lapin=off");
        assert_eq!(quiet("warn,lapin=debug"), "warn,lapin=debug");
    }
}
