//! One message on its way out, as the command that puts it where it goes.

use redis::Cmd;

use super::envelope;
use super::publisher::{Xadd, now_ms};
use crate::commit::{Destination, Publication};
use crate::place::PlaceKind;
use crate::ports::PublishError;

/// Milliseconds that fit beside a priority into a score: a double has 53 bits, a priority takes 8 of them.
const SPAN: f64 = (1u64 << 44) as f64;

/// What is written, by what the place is.
pub(super) enum Output<'a> {
    /// An entry of a stream.
    Entry(Xadd<'a>),
    /// An item of a list, a member of a sorted set, or what a channel carries.
    Value(Value<'a>),
}

/// A message in one value.
pub(super) struct Value<'a> {
    verb: &'static str,
    place: &'a str,
    score: Option<String>,
    value: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(super) fn new(publication: &'a Publication) -> Result<Self, PublishError> {
        let verb = match publication.destination.kind {
            PlaceKind::List => "LPUSH",
            PlaceKind::SortedSet => "ZADD",
            PlaceKind::Channel => "PUBLISH",
            _ => return Xadd::new(publication).map(Self::Entry),
        };
        let out = &publication.message;
        if out.delay_ms.is_some_and(|d| d > 0) {
            return Err(PublishError::Message(format!(
                "a Redis {} cannot hold a message back: publish it without a delay, or to a broker that can",
                publication.destination.kind.key().replace('_', " ")
            )));
        }
        let now = now_ms();
        Ok(Self::Value(Value {
            verb,
            place: publication.address(),
            score: (verb == "ZADD").then(|| score(out.priority.unwrap_or(0), now).to_string()),
            value: envelope::write(out, now)?,
        }))
    }

    /// The command.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Entry(_) => "XADD",
            Self::Value(value) => value.verb,
        }
    }

    /// The key it works on.
    pub(super) fn place(&self) -> &'a str {
        match self {
            Self::Entry(entry) => entry.stream,
            Self::Value(value) => value.place,
        }
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.bytes,
            Self::Value(value) => value.value.len(),
        }
    }

    /// How many arguments [`write`](Self::write) adds.
    pub(super) fn args(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.args(),
            Self::Value(value) => 1 + usize::from(value.score.is_some()),
        }
    }

    /// What follows the key. The last argument of a sorted set is the member: it is taken back by it.
    pub(super) fn write(&self, cmd: &mut Cmd) {
        match self {
            Self::Entry(entry) => entry.write(cmd),
            Self::Value(value) => {
                if let Some(score) = &value.score {
                    cmd.arg(score);
                }
                cmd.arg(&value.value);
            }
        }
    }

    /// The whole command.
    pub(super) fn command(&self) -> Cmd {
        let place = self.place();
        let mut cmd = Cmd::with_capacity(2 + self.args(), self.bytes() + place.len() + 16);
        cmd.arg(self.verb()).arg(place);
        self.write(&mut cmd);
        cmd
    }
}

/// Whether what goes there can be taken back in the step that put it there: nobody can unhear what a channel said.
pub(super) fn can_be_undone(destination: &Destination) -> bool {
    destination.kind != PlaceKind::Channel
}

/// Higher priorities first, and among equals those that were published first: the whole part is the priority, and what
/// is behind the point falls with time.
fn score(priority: u8, now_ms: u64) -> f64 {
    f64::from(priority) + 1.0 - (now_ms as f64 + 1.0) / SPAN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_come_first_and_then_those_before() {
        let now = 1_900_000_000_000;
        for priority in [0, 1, 2, 127, 128, 254, 255] {
            let at = |ms: u64| score(priority, now + ms);
            assert!(at(0) > at(1), "a millisecond counts at {priority}");
            assert_eq!(at(0).floor(), f64::from(priority));
            assert!(at(0) > f64::from(priority), "before a bare number");
            assert_eq!(
                at(0).to_string().parse(),
                Ok(at(0)),
                "as text it is the same"
            );
        }
        assert!(score(1, now + 1_000_000) > score(0, now));
    }
}
