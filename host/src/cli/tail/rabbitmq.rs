//! Why nothing of RabbitMQ is shown.

use futures_util::future::{BoxFuture, ready};

use super::Following;
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;

/// A queue cannot be looked into without taking its messages from those who read it.
pub(in crate::cli) struct RabbitTail {
    queue: String,
}

impl RabbitTail {
    pub(in crate::cli) fn new(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
        }
    }

    fn refusal(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(ready(Err(Failure::usage(format!(
            "`{}` cannot be looked into: a queue of RabbitMQ gives each message to one reader, and looking would take them from its own. Dead letters are shown by `wharf dlq show`; to follow an exchange, bind a queue of your own to it",
            self.queue
        )))))
    }
}

impl Following for RabbitTail {
    fn newest(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        self.refusal()
    }

    fn next(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        self.refusal()
    }

    fn wait(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Record>>> {
        self.refusal()
    }
}
