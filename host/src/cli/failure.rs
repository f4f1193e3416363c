//! How a command fails: an exit code, and a sentence for standard error.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use owo_colors::OwoColorize as _;

/// Something did not work (1).
pub(super) const FAILED: u8 = 1;
/// Wrong usage (EX_USAGE).
pub(super) const USAGE: u8 = 64;
/// Bad configuration (EX_CONFIG).
pub(super) const CONFIG: u8 = 78;

/// What a command answers.
pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Why a command ends early.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    /// Empty where everything has been said already.
    message: String,
}

impl Failure {
    /// Something did not work.
    pub(super) fn new(message: impl Display) -> Self {
        Self {
            code: FAILED,
            message: message.to_string(),
        }
    }

    /// The command was given what cannot be.
    pub(super) fn usage(message: impl Display) -> Self {
        Self {
            code: USAGE,
            message: message.to_string(),
        }
    }

    /// The configuration is at fault.
    pub(super) fn config(message: impl Display) -> Self {
        Self {
            code: CONFIG,
            message: message.to_string(),
        }
    }

    /// The command has said itself what is wrong.
    pub(super) fn said(code: u8) -> Self {
        Self {
            code,
            message: String::new(),
        }
    }

    /// The same, saying first where it happened.
    pub(super) fn at(self, place: impl Display) -> Self {
        Self {
            message: format!("{place}: {}", self.message),
            ..self
        }
    }

    /// The sentence.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Says it and answers the exit code.
    pub(super) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            say_error(&self.message);
        }
        ExitCode::from(self.code)
    }
}

/// Writing to standard output failed. Whoever read it may have had enough (`| head`): that is success.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::said(0),
            _ => Self::new(format!("cannot write the output: {error}")),
        }
    }
}

impl From<crate::ports::BrokerError> for Failure {
    fn from(error: crate::ports::BrokerError) -> Self {
        Self::new(error)
    }
}

impl From<crate::ports::PublishError> for Failure {
    fn from(error: crate::ports::PublishError) -> Self {
        Self::new(error)
    }
}

impl From<crate::broker::embedded::Error> for Failure {
    fn from(error: crate::broker::embedded::Error) -> Self {
        Self::new(error)
    }
}

impl From<crate::plugin::Error> for Failure {
    fn from(error: crate::plugin::Error) -> Self {
        Self::new(error)
    }
}

/// One line, or more, of `error: …` on standard error.
pub(super) fn say_error(message: &str) {
    anstream::eprintln!("{} {message}", "error:".red().bold());
}

/// One line of `note: …` on standard error.
pub(super) fn say_note(message: &str) {
    anstream::eprintln!("{} {message}", "note:".cyan().bold());
}
