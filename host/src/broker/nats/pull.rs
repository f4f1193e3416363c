//! How much to ask of a pull consumer, and what its answers mean.
//!
//! The client has a stream of its own for this. It asks for more whenever it is polled, and what it has received and
//! nobody has polled yet it keeps to itself: the server's patience with those messages runs out, and at a stop they come
//! again only after it. Here every message that arrives is taken at once, and no more is asked for than there is room.
//!
//! A request stands for [`EXPIRES`] and then ends with an answer, also where nothing came. So there is a sign of life at
//! least that often, and at a stop nothing is on its way any more after that time. The client cannot give a request up
//! earlier without losing what is on its way, but where one server is all there is; for what was put aside to be tried again that is
//! done all the same, since a stopping host puts things aside that would come to itself.

use std::time::Duration;

use tokio::time::Instant;

/// How long a request stands.
pub(super) const EXPIRES: Duration = Duration::from_secs(2);
/// How much later its end may be heard of.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// Most bytes one request may bring.
const BYTES: usize = 8 << 20;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) messages: usize,
    /// `None`: however large it is.
    pub(super) bytes: Option<usize>,
}

/// What an answer without a message means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Requests go on, or the next one does.
    GoOn,
    /// The consumer has to be looked at: in the server's words.
    Rebuild(String),
}

/// The requests to one consumer.
#[derive(Debug)]
pub(super) struct Pull {
    /// Asked for and not come.
    outstanding: usize,
    /// The next message is larger than a request allows: it is asked for alone.
    large: bool,
    heard: Instant,
}

impl Pull {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            outstanding: 0,
            large: false,
            heard: now,
        }
    }

    /// What to ask for now. `room` is for messages that have not come yet, whether asked for or not.
    pub(super) fn ask(&mut self, room: usize, now: Instant) -> Option<Ask> {
        let free = room.saturating_sub(self.outstanding);
        if self.large {
            if self.outstanding > 0 || room == 0 {
                return None;
            }
            self.large = false;
            self.heard = now;
            self.outstanding = 1;
            return Some(Ask {
                messages: 1,
                bytes: None,
            });
        }
        // Not for each message that makes room, and not only once all have come.
        if free == 0 || free < self.outstanding {
            return None;
        }
        if self.outstanding == 0 {
            self.heard = now;
        }
        self.outstanding += free;
        Some(Ask {
            messages: free,
            bytes: Some(BYTES),
        })
    }

    /// A message came.
    pub(super) fn came(&mut self, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.heard = now;
    }

    /// An answer came without one. `left` is how many messages its request did not bring, if it says.
    pub(super) fn said(
        &mut self,
        code: u16,
        description: &str,
        left: Option<usize>,
        now: Instant,
    ) -> Verdict {
        self.heard = now;
        let over = |pull: &mut Self| {
            let left = left.unwrap_or(pull.outstanding);
            pull.outstanding = pull.outstanding.saturating_sub(left);
        };
        match code {
            100 => Verdict::GoOn,
            404 | 408 => {
                over(self);
                Verdict::GoOn
            }
            409 if description == "Message Size Exceeds MaxBytes" => {
                over(self);
                self.large = true;
                Verdict::GoOn
            }
            409 if !description.starts_with("Consumer ")
                && !description.starts_with("Exceeded ") =>
            {
                // Completed, or another server leads: it is asked again.
                over(self);
                Verdict::GoOn
            }
            503 => Verdict::Rebuild(
                "nobody answers for the consumer: it is gone, or JetStream is not ready".to_owned(),
            ),
            _ => Verdict::Rebuild(format!("{code} {description}")),
        }
    }

    /// Nothing is on its way.
    pub(super) fn idle(&self) -> bool {
        self.outstanding == 0
    }

    /// A request should have ended and nothing was heard.
    pub(super) fn overdue(&self, now: Instant) -> bool {
        !self.idle() && now.saturating_duration_since(self.heard) > EXPIRES + GRACE
    }
}

#[cfg(test)]
mod tests;
