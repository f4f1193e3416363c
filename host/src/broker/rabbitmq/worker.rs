//! The task that reads a subscription: it connects, makes its queue, consumes, and begins again when anything breaks.
//!
//! It consumes from the source and from the subscription's own queue, by one channel ([`consumers`](super::consumers)). What arrives goes to the source by
//! a queue with room for the prefetch of both; only what a lost connection left in it makes the worker wait. When the size
//! of messages asks for another prefetch, consumers are added or replaced ([`prefetch`](super::prefetch)).
//!
//! The server's patience with what was read ahead runs out too, while the host fetches nothing (it is paused, or busy). What
//! has waited for half of it is given back, and nothing more is read until a fetch waits.

use std::sync::Arc;
use std::time::Duration;

use lapin::Connection;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connect::{Endpoint, Trouble};
use super::consumers::{Consumers, Item};
use super::declare;
use super::link::{Pace, Tries};
use super::prefetch::{FIRST, Sizes};
use super::rest::looks;
use super::subscription::{Live, Subscription};
use crate::broker::waiting::Part;
use crate::delivery::Token;
use crate::message::Message;

/// How long the server may take to let us consume.
const OPENING: Duration = Duration::from_secs(10);
/// How long the server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);

/// A message that was read and not handed over.
pub(super) struct Fetched {
    pub(super) token: Token,
    pub(super) message: Message,
}

/// See the module.
pub(super) struct Worker {
    pub(super) sub: Arc<Subscription>,
    pub(super) endpoint: Endpoint,
    pub(super) part: Part,
    pub(super) tries: Tries,
    pub(super) sizes: Sizes,
    pub(super) read: Sender<Fetched>,
    /// Cancelled once nothing more will be read.
    pub(super) stopped: CancellationToken,
    /// Nobody settles any more.
    pub(super) closing: CancellationToken,
}

/// How a connection came to its end.
enum End {
    /// It broke.
    Broke(Trouble),
    /// The server was to have everything again.
    Rewound,
    /// It is not needed any more.
    Closed,
}

impl Worker {
    pub(super) async fn run(mut self) {
        let (stopping, closing) = (self.sub.stopping.clone(), self.closing.clone());
        loop {
            let trouble = match self.once().await {
                Ok(End::Closed) => break,
                Ok(End::Rewound) => {
                    // The server has everything until somebody wants it: a host that is paused keeps nobody else from it.
                    tokio::select! {
                        () = self.sub.wanted() => {}
                        () = stopping.cancelled() => {}
                        () = closing.cancelled() => {}
                    }
                    continue;
                }
                Ok(End::Broke(trouble)) | Err(trouble) => trouble,
            };
            self.part.trouble(&trouble.reason);
            let wait = self.tries.failed(trouble.pace, fastrand::f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // What was in hand comes again to somebody else.
                () = stopping.cancelled() => break,
                () = closing.cancelled() => break,
            }
        }
        self.stopped.cancel();
    }

    /// One connection, from its making to its end.
    async fn once(&mut self) -> Result<End, Trouble> {
        let stopping = self.sub.stopping.clone();
        let opened = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(End::Closed),
            () = self.closing.cancelled() => return Ok(End::Closed),
            opened = self.connect() => opened,
        };
        let (live, mut consumers) = opened?;
        self.part.well();
        let end = self.read(&live, &mut consumers).await;
        let ours = matches!(end, End::Rewound);
        // What was accepted is not to come again with the rest.
        match end {
            End::Rewound => {
                let applied = self.sub.all_applied(&live);
                drop(self.closing.run_until_cancelled(applied).await);
                self.note(&live, consumers.come());
            }
            // Whoever settled last has waited for it.
            End::Closed | End::Broke(_) => {}
        }
        let lost = self.sub.down(ours);
        if lost > 0 {
            tracing::info!(queue = %self.sub.queue, lost, "rabbitmq: comes again");
        }
        let bye = async {
            // By the channel first: it has dealt with every acknowledgement by then.
            live.channel.close(200, "done".into()).await?;
            live.connection.close(200, "done".into()).await
        };
        drop(tokio::time::timeout(GOODBYE, bye).await);
        // Not before: one that is dropped while the channel is open tells the server that it ends, which may then give
        // another host what is behind all this.
        drop(consumers);
        Ok(end)
    }

    async fn connect(&self) -> Result<(Arc<Live>, Consumers), Trouble> {
        let what = format!("reads {}", self.sub.queue);
        let connection = self.endpoint.connect(&what).await?;
        let opened = tokio::time::timeout(OPENING, self.open(connection)).await;
        opened.unwrap_or_else(|_| {
            // Nobody reads by it, and it is not to keep what it was given.
            self.sub.down(false);
            // A quorum queue that has no leader yet, after a restart say, keeps whoever asks for it waiting.
            let at = &self.endpoint.at;
            let reason = format!("rabbitmq at {at}: no answer about {}", self.sub.queue);
            let pace = Pace::Soon;
            Err(Trouble { reason, pace })
        })
    }

    async fn open(&self, connection: Connection) -> Result<(Arc<Live>, Consumers), Trouble> {
        let trouble = |error: lapin::Error| self.endpoint.trouble(&error);
        self.make(&connection).await?;
        let own = self.sub.retry_declaration();
        declare::ensure(&connection, &own).await.map_err(trouble)?;
        let channel = connection.create_channel().await.map_err(trouble)?;
        let first = if self.sub.ordered {
            self.sub.window
        } else {
            FIRST
        };
        let wanted = self.sizes.wanted(first, self.sub.window, self.sub.bytes());
        let mut consumers = Consumers::new(wanted);
        let live = self.sub.up(connection, channel);
        let consuming = consumers.consume(&self.sub, &live).await;
        if let Err(error) = consuming {
            self.sub.down(false);
            return Err(trouble(error));
        }
        Ok((live, consumers))
    }

    /// Makes what is declared of the source. One that exists otherwise is read as it is; not where an order is promised,
    /// since nobody knows whether it has a single active consumer.
    async fn make(&self, connection: &Connection) -> Result<(), Trouble> {
        let made = declare::make(connection, &self.sub.declared).await;
        for problem in made.map_err(|error| self.endpoint.trouble(&error))? {
            if problem.differs && !self.sub.ordered {
                self.sub.outlet.differs(&problem.reason);
                continue;
            }
            let at = &self.endpoint.at;
            let reason = format!("rabbitmq at {at}: {}", problem.reason);
            let pace = Pace::Seldom;
            return Err(Trouble { reason, pace });
        }
        Ok(())
    }

    async fn read(&mut self, live: &Live, consumers: &mut Consumers) -> End {
        let stopping = self.sub.stopping.clone();
        let mut cancelled = false;
        let mut looks = looks(self.sub.waits);
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return End::Closed,
                () = live.broken.cancelled() => return self.broke("something on it broke"),
                () = live.rewound.cancelled() => return End::Rewound,
                // Under an order promise they read on until all in hand has ended.
                () = stopping.cancelled(), if !cancelled && !self.sub.ordered => {
                    cancelled = true;
                    if let Err(error) = consumers.end(live).await {
                        return End::Broke(self.endpoint.trouble(&error));
                    }
                }
                _at = looks.tick() => {
                    if let Err(error) = self.sub.look(live, consumers).await {
                        return End::Broke(self.endpoint.trouble(&error));
                    }
                }
                () = self.sub.wanted(), if consumers.resting() => {
                    if let Err(error) = consumers.wake(&self.sub, live).await {
                        return End::Broke(self.endpoint.trouble(&error));
                    }
                }
                items = consumers.next() => {
                    let Some(items) = items else {
                        return self.finish(live).await;
                    };
                    if let Err(end) = self.take(live, consumers, items).await {
                        return end;
                    }
                }
            }
            if !cancelled
                && !consumers.resting()
                && let Err(error) = self.resize(live, consumers).await
            {
                return End::Broke(self.endpoint.trouble(&error));
            }
        }
    }

    /// Asks for another prefetch where the size of messages wants it.
    async fn resize(&self, live: &Live, consumers: &mut Consumers) -> lapin::Result<()> {
        let now = consumers.prefetch;
        let better = self.sizes.better(now, self.sub.window, self.sub.bytes());
        match better {
            None => Ok(()),
            Some(better) if self.sub.ordered => {
                if better < now {
                    self.sub.rewind();
                    self.sub.ended(std::iter::empty());
                }
                Ok(())
            }
            Some(better) => consumers.resize(&self.sub, live, better).await,
        }
    }

    async fn take(
        &mut self,
        live: &Live,
        consumers: &mut Consumers,
        items: Vec<Item>,
    ) -> Result<(), End> {
        let mut moves = Vec::new();
        let now = Instant::now();
        for item in items {
            match item {
                Item::Delivered { own, delivery } => {
                    self.tries.worked();
                    moves.extend(self.arrived(live, own, *delivery, now).await);
                }
                Item::Failed(error) => return Err(End::Broke(self.endpoint.trouble(&error))),
                Item::Ended(tag) if consumers.was_told(&tag) => {}
                Item::Ended(_) => {
                    let why = "the server ended a consumer: its queue may be gone";
                    return Err(self.broke(why));
                }
            }
        }
        self.moved(live, moves).await;
        Ok(())
    }

    /// Nothing more is read; the connection stays for what is being settled.
    async fn finish(&self, live: &Live) -> End {
        self.stopped.cancel();
        tokio::select! {
            () = self.closing.cancelled() => End::Closed,
            () = live.broken.cancelled() => self.broke("something on it broke"),
        }
    }

    fn broke(&self, why: &str) -> End {
        End::Broke(Trouble {
            reason: format!("rabbitmq at {}: {why}", self.endpoint.at),
            pace: Pace::Soon,
        })
    }
}
