//! How a handler fails: the three answers of the contract, and the shortest way to each.
//!
//! [`Error`] deliberately does not implement [`std::error::Error`]: that is what lets `?` turn every
//! other error into one, as `anyhow` does. Use [`Error::reason`] to read it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::contract::{Failure, FailureInfo};

/// The result of a handler, or of anything it calls.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// What the host shall do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Try again later. Charged as an attempt, so it ends at the plugin's limit.
    Retry,
    /// Never try this message again: dead-letter it now.
    Reject,
    /// Something the handler depends on is down. Tried again without being charged.
    Unavailable,
}

/// Why a message was not handled, and what shall happen to it.
///
/// Made by [`reject`], [`retry`], [`unavailable`], the methods of [`OrFail`], or by `?` on any other
/// error, which becomes a [`Kind::Retry`] with the whole chain of causes as its reason.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    reason: String,
    code: Option<String>,
    after: Option<Duration>,
}

impl Error {
    /// An error of the given kind. `reason` is for people: it is shown in logs and in the dead letter.
    pub fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            code: None,
            after: None,
        }
    }

    /// Never try this message again.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::new(Kind::Reject, reason)
    }

    /// Try again by the host's schedule.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::new(Kind::Retry, reason)
    }

    /// A dependency is down.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, reason)
    }

    /// A short, stable word for programs, such as `unknown-currency`. It becomes the `wharf-code`
    /// header of the dead letter.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Not before this long from now. In whole milliseconds, rounded up, at most some 49 days;
    /// meaningless for a rejection.
    #[must_use]
    pub fn with_delay(mut self, after: Duration) -> Self {
        self.after = Some(after);
        self
    }

    /// What the host shall do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The text for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The word for programs.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The shortest wait asked for.
    pub fn delay(&self) -> Option<Duration> {
        self.after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.reason)?;
        if let Some(code) = &self.code {
            write!(f, " [{code}]")?;
        }
        if let Some(after) = self.after {
            write!(f, " (after {after:?})")?;
        }
        Ok(())
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::retry(chain(error.into().as_ref()))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let info = FailureInfo {
            reason: error.reason,
            code: error.code,
            after_ms: error.after.map(millis),
        };
        match error.kind {
            Kind::Retry => Self::Retry(info),
            Kind::Reject => Self::Reject(info),
            Kind::Unavailable => Self::Unavailable(info),
        }
    }
}

/// `error: its cause: the cause of that`. Some errors print their cause themselves, and are not
/// repeated.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Rounded up, so that "not before" holds; what does not fit is as long as the contract can say.
pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// `return reject("why")`: this message can never be handled, dead-letter it now.
pub fn reject<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::reject(reason))
}

/// `return retry("why")`: try again by the host's schedule. Charged as an attempt.
pub fn retry<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::retry(reason))
}

/// `return retry_after(delay, "why")`: try again, but not before `after` has passed.
pub fn retry_after<T>(after: Duration, reason: impl Into<String>) -> Result<T> {
    Err(Error::retry(reason).with_delay(after))
}

/// `return unavailable("why")`: something this handler depends on is down. No attempt is charged, and
/// the host may open the plugin's breaker.
pub fn unavailable<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::unavailable(reason))
}

/// As [`unavailable`], and not before `after` has passed.
pub fn unavailable_for<T>(after: Duration, reason: impl Into<String>) -> Result<T> {
    Err(Error::unavailable(reason).with_delay(after))
}

/// Says what a missing value or an error of somebody else means for the message.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// fn cents(text: &str) -> Result<u64> {
///     text.parse().or_reject("the price is not a number").code("bad-price")
/// }
///
/// let error = cents("ten").unwrap_err();
/// assert_eq!(error.code(), Some("bad-price"));
/// assert_eq!(error.reason(), "the price is not a number: invalid digit found in string");
/// ```
pub trait OrFail<T> {
    /// Otherwise fail in the given way. The reason is `context`, followed by the error's chain.
    fn or_fail(self, kind: Kind, context: impl Into<String>) -> Result<T>;

    /// Otherwise never try this message again.
    fn or_reject(self, context: impl Into<String>) -> Result<T>
    where
        Self: Sized,
    {
        self.or_fail(Kind::Reject, context)
    }

    /// Otherwise try again. Like `?`, with words of your own.
    fn or_retry(self, context: impl Into<String>) -> Result<T>
    where
        Self: Sized,
    {
        self.or_fail(Kind::Retry, context)
    }

    /// Otherwise a dependency is down.
    fn or_unavailable(self, context: impl Into<String>) -> Result<T>
    where
        Self: Sized,
    {
        self.or_fail(Kind::Unavailable, context)
    }
}

impl<T> OrFail<T> for Option<T> {
    fn or_fail(self, kind: Kind, context: impl Into<String>) -> Result<T> {
        self.ok_or_else(|| Error::new(kind, context))
    }
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> OrFail<T> for std::result::Result<T, E> {
    fn or_fail(self, kind: Kind, context: impl Into<String>) -> Result<T> {
        self.map_err(|error| {
            let cause = chain(error.into().as_ref());
            Error::new(kind, format!("{}: {cause}", context.into()))
        })
    }
}

/// Adds to the [`Error`] inside a [`Result`]: `return reject("no items").code("no-items")`.
pub trait Coded: Sized {
    /// See [`Error::with_code`].
    #[must_use]
    fn code(self, code: impl Into<String>) -> Self;

    /// See [`Error::with_delay`].
    #[must_use]
    fn after(self, delay: Duration) -> Self;
}

impl<T> Coded for Result<T> {
    fn code(self, code: impl Into<String>) -> Self {
        self.map_err(|error| error.with_code(code))
    }

    fn after(self, delay: Duration) -> Self {
        self.map_err(|error| error.with_delay(delay))
    }
}

#[cfg(test)]
mod tests;
