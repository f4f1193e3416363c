//! One request to the writer, with its type erased so that one queue and one transaction hold all kinds.
//!
//! A job may be run more than once: when a transaction fails, each of its jobs is run again in one of its own, so that
//! only the one at fault fails. So [`Operation::run`] takes `&self` and leaves no trace outside the [`Ledger`].

use tokio::sync::oneshot;

use super::error::Error;
use super::ledger::Ledger;

/// Something to be done in a transaction.
pub(super) trait Operation: Send + 'static {
    /// What the caller is told once it is committed.
    type Output: Send + 'static;

    /// Whether the answer may only be given when the transaction is on the disk.
    fn durable(&self) -> bool {
        true
    }

    /// Bytes it adds to the transaction, roughly.
    fn weight(&self) -> usize {
        64
    }

    /// Does it. An error undoes the whole transaction.
    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<Self::Output>;

    /// The caller is gone: what has to be done to take the output back.
    fn take_back(&self, _output: Self::Output) -> Option<Box<dyn Job>> {
        None
    }
}

/// An [`Operation`] with its answer.
pub(super) trait Job: Send {
    /// See [`Operation::durable`].
    fn durable(&self) -> bool;
    /// See [`Operation::weight`].
    fn weight(&self) -> usize;
    /// Runs it and keeps the output.
    fn run(&mut self, ledger: &mut Ledger) -> rusqlite::Result<()>;
    /// Tells the caller. Returns what takes an unwanted output back.
    fn answer(self: Box<Self>, outcome: Result<(), Error>) -> Option<Box<dyn Job>>;
}

struct Asked<O: Operation> {
    operation: O,
    /// What the last run returned; given away only after the commit.
    output: Option<O::Output>,
    /// One answer to one caller.
    reply: oneshot::Sender<Result<O::Output, Error>>,
}

/// What a caller waits for. The inner error is the broker's, the outer one means the writer ended.
pub(super) type Answer<T> = oneshot::Receiver<Result<T, Error>>;

/// Packs an operation for the queue.
pub(super) fn ask<O: Operation>(operation: O) -> (Box<dyn Job>, Answer<O::Output>) {
    let (reply, answer) = oneshot::channel();
    let job = Asked {
        operation,
        output: None,
        reply,
    };
    (Box::new(job), answer)
}

impl<O: Operation> Job for Asked<O> {
    fn durable(&self) -> bool {
        self.operation.durable()
    }

    fn weight(&self) -> usize {
        self.operation.weight()
    }

    fn run(&mut self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.output = Some(self.operation.run(ledger)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) -> Option<Box<dyn Job>> {
        let Self {
            operation,
            output,
            reply,
        } = *self;
        let answer = match (outcome, output) {
            (Ok(()), Some(output)) => Ok(output),
            (Ok(()), None) => Err(Error::Closed),
            (Err(error), _) => Err(error),
        };
        match reply.send(answer) {
            Err(Ok(unwanted)) => operation.take_back(unwanted),
            _ => None,
        }
    }
}
