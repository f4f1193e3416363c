//! The embedded broker: durable topics in one SQLite file, the default that needs nothing installed.
//!
//! One writer thread does everything that changes the file, in transactions that take whatever queued while the last
//! one ran. Sources, settlers and publishers are handles that queue requests and wait for the answer.
//! Outputs to the same file and the settlement of their message are one transaction, so a handler's step here happens
//! exactly once or not at all.
//!
//! * **Bounds**: 1,024 waiting requests, 256 requests or 16 MiB a transaction, one message at most `max_message`.
//! * **Owner**: one process consumes ([`Embedded::open_owner`], held by a file lock); others publish, read, delete and
//!   move ([`Embedded::open_client`]). What the former owner had in hand is due at once when the next one opens.
//! * **Two topics a subscription**: besides its own it reads `retry.{subscription}.{plugin}` once that exists, which
//!   is where a dead letter is sent back to, so that no other group sees it again. It is outside any promise of order.
//! * **Deletion**: a message goes when every group that was there to read it has settled it, a moment later, or after
//!   `retention`. A topic without groups keeps its messages. The file does not shrink; its room is used again.
//! * **Surprises**: a delayed or prioritised message overtakes and is overtaken, except where a subscription is
//!   ordered: there priorities count for nothing, and a message that was released for later holds back all behind it.

mod browse;
mod codec;
mod error;
mod fetch;
mod filesystem;
mod id;
mod job;
mod ledger;
mod lock;
mod manage;
mod publish;
mod queue;
mod reaper;
mod row;
mod schema;
mod settle;
mod source;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use self::browse::{GroupInfo, TopicInfo};
pub use self::error::Error;
pub use self::row::StoredMessage;
pub use self::source::retry_topic;

use self::browse::Reader;
use self::job::{Answer, Job, Operation, ask};
use self::ledger::Ledger;
use self::queue::Queue;
use self::reaper::Reaper;
use self::row::Row;
use self::source::{EmbeddedSource, Subscribe, Subscription};
use self::writer::{Shared, Writer};
use crate::config;
use crate::delivery::Inbox;
use crate::message::Outgoing;
use crate::place::PlaceKind;
use crate::ports::{
    Broker, BrokerError, Capabilities, Health, Lag, Ordering, PublishError, Publisher, Subscribed,
    SubscriptionSpec,
};

/// The way to the writer. When the last one goes, the writer ends.
struct Handle {
    name: Arc<str>,
    max_message: usize,
    shared: Arc<Shared>,
}

impl Handle {
    async fn submit<O: Operation>(&self, operation: O) -> Result<Answer<O::Output>, Error> {
        let (job, answer) = ask(operation);
        self.shared.queue.push(job).await?;
        Ok(answer)
    }

    /// Without waiting for a place. Nothing is to be done when the broker is closed: the next owner takes back what
    /// was in hand.
    fn submit_now(&self, job: Box<dyn Job>) {
        if self.shared.queue.push_now(job).is_err() {
            tracing::debug!("the embedded broker was closed before its sources");
        }
    }

    async fn call<O: Operation>(&self, operation: O) -> Result<O::Output, Error> {
        self.submit(operation)
            .await?
            .await
            .unwrap_or(Err(Error::Closed))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

/// An open file.
pub struct Embedded {
    handle: Arc<Handle>,
    reader: Arc<Reader>,
    owner: bool,
    /// Joined by the first `close`.
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the file to consume from it. Fails when another process does.
    pub fn open_owner(name: &str, options: &config::Embedded) -> Result<Self, Error> {
        schema::prepare_folder(&options.path)?;
        let lock = lock::acquire(&options.path)?;
        let conn = schema::open_writer(&options.path)?;
        schema::reclaim(&options.path, &conn)?;
        let retention = options
            .retention
            .map(|keep| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX / 4));
        Self::start(name, options, conn, Some((lock, Reaper::new(retention))))
    }

    /// Opens the file to publish to it and to read, delete and move what is there. Any number of processes may.
    pub fn open_client(name: &str, options: &config::Embedded) -> Result<Self, Error> {
        schema::prepare_folder(&options.path)?;
        let conn = schema::open_writer(&options.path)?;
        Self::start(name, options, conn, None)
    }

    fn start(
        name: &str,
        options: &config::Embedded,
        conn: rusqlite::Connection,
        owner: Option<(lock::OwnerLock, Reaper)>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            queue: Queue::new(),
            listeners: Mutex::default(),
            health: Mutex::new(Health::Ready),
        });
        let is_owner = owner.is_some();
        let writer = Writer::new(
            options.path.clone(),
            Ledger::new(conn),
            Arc::clone(&shared),
            options.sync,
            owner,
        );
        let thread = std::thread::Builder::new()
            .name(format!("embedded-{name}"))
            .spawn(move || writer.run())
            .map_err(|e| Error::Folder {
                path: options.path.clone(),
                reason: format!("no thread for the writer: {e}"),
            })?;
        Ok(Self {
            handle: Arc::new(Handle {
                name: name.into(),
                max_message: options.max_message.as_usize(),
                shared,
            }),
            reader: Arc::new(Reader::new(options.path.clone())),
            owner: is_owner,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.reader.path()
    }

    /// Messages of a topic from sequence `from` on, at most `limit`, in order. Nothing is consumed. Settled messages
    /// are seen until they are deleted; set a retention to see them for longer.
    pub async fn browse(
        &self,
        topic: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, Error> {
        let topic = topic.to_owned();
        self.reader
            .query(move |conn| browse::messages(conn, &topic, from, limit))
            .await
    }

    /// As [`browse`](Self::browse), but waits until there is at least one.
    pub async fn follow(
        &self,
        topic: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, Error> {
        let news = self.listen([Arc::from(topic)].into_iter());
        loop {
            let found = self.browse(topic, from, limit).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            news.notified().await;
        }
    }

    /// The last sequence a topic gave out; 0 where nothing was ever published to it.
    pub async fn last_seq(&self, topic: &str) -> Result<u64, Error> {
        let topic = topic.to_owned();
        self.reader
            .query(move |conn| browse::last_seq(conn, &topic))
            .await
    }

    /// All topics, by name.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Error> {
        self.reader.query(browse::topics).await
    }

    /// The groups of a topic with what each has before it.
    pub async fn groups(&self, topic: &str) -> Result<Vec<GroupInfo>, Error> {
        let topic = topic.to_owned();
        self.reader
            .query(move |conn| browse::groups(conn, &topic))
            .await
    }

    /// What one group has before it; zero where topic or group do not exist. Beyond 50,000 new messages their number
    /// is a subtraction, in which messages deleted by hand are still counted.
    pub async fn depth(&self, topic: &str, group: &str) -> Result<Lag, Error> {
        let (topic, group) = (topic.to_owned(), group.to_owned());
        self.reader
            .query(move |conn| browse::lag(conn, &topic, &group))
            .await
    }

    /// Deletes messages, whoever still has a claim to them. Answers for each whether it was there.
    pub async fn delete(&self, topic: &str, seqs: &[u64]) -> Result<Vec<bool>, Error> {
        self.handle
            .call(manage::Delete {
                topic: topic.to_owned(),
                seqs: seqs.iter().map(|seq| id::known(*seq)).collect(),
            })
            .await
    }

    /// Moves messages to another topic in one transaction, each as the given [`Outgoing`] (its `destination` and
    /// `topic` do not count; [`StoredMessage::to_outgoing`] keeps it as it is). Answers for each whether it was still
    /// there to be moved; the others are not published. Refuses all when one is too large.
    pub async fn redrive(
        &self,
        from: &str,
        to: &str,
        moves: &[(u64, Outgoing)],
    ) -> Result<Vec<bool>, PublishError> {
        let moves = moves
            .iter()
            .map(|(seq, message)| {
                let row = Row::new(to, message, self.handle.max_message)?;
                Ok((id::known(*seq), row))
            })
            .collect::<Result<Vec<_>, PublishError>>()?;
        self.handle
            .call(manage::Move {
                from: from.to_owned(),
                moves,
            })
            .await
            .map_err(PublishError::from)
    }

    /// Deletes everything in a topic. Answers how many messages that were.
    pub async fn purge(&self, topic: &str) -> Result<u64, Error> {
        self.handle
            .call(manage::Purge {
                topic: topic.to_owned(),
            })
            .await
    }

    fn listen(&self, topics: impl Iterator<Item = Arc<str>>) -> Arc<Notify> {
        let news = Arc::new(Notify::new());
        self.handle.shared.listeners.lock().join(topics, &news);
        news
    }

    async fn open_subscription(
        &self,
        spec: SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> Result<Subscribed, Error> {
        if !self.owner {
            return Err(Error::NotOwner {
                path: self.path().to_path_buf(),
            });
        }
        let subscription = Arc::new(Subscription {
            retry: retry_topic(&spec.name, &spec.plugin).into(),
            broker: Arc::clone(&self.handle.name),
            spec,
        });
        let topics = [&subscription.spec.address, &subscription.retry];
        let news = self.listen(topics.into_iter().map(Arc::clone));
        self.handle
            .call(Subscribe {
                subscription: Arc::clone(&subscription),
            })
            .await?;
        Ok(Subscribed {
            settler: Box::new(settle::EmbeddedSettler {
                handle: Arc::clone(&self.handle),
                subscription: Arc::clone(&subscription),
            }),
            source: Box::new(EmbeddedSource::new(
                Arc::clone(&self.handle),
                subscription,
                inbox,
                news,
            )),
        })
    }
}

impl Broker for Embedded {
    fn name(&self) -> &str {
        &self.handle.name
    }

    fn system(&self) -> &'static str {
        "wharf_embedded"
    }

    fn capabilities(&self, _: PlaceKind) -> Capabilities {
        Capabilities {
            redelivers: true,
            orders: Ordering::Source,
            delays: true,
            counts_deliveries: true,
            keeps_attempts: true,
            native_dead_letter: false,
            atomic: true,
            patience: None,
        }
    }

    fn subscribe<'a>(
        &'a self,
        spec: SubscriptionSpec,
        inbox: Arc<Inbox>,
    ) -> BoxFuture<'a, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            self.open_subscription(spec, inbox)
                .await
                .map_err(BrokerError::from)
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(publish::EmbeddedPublisher {
            handle: Arc::clone(&self.handle),
        })
    }

    fn health(&self) -> Health {
        self.handle.shared.health.lock().clone()
    }

    fn lag<'a>(&'a self, spec: &'a SubscriptionSpec) -> BoxFuture<'a, Result<Lag, BrokerError>> {
        Box::pin(async move {
            let retry = retry_topic(&spec.name, &spec.plugin);
            let main = self.depth(&spec.address, &spec.group).await?;
            let again = self.depth(&retry, &spec.group).await?;
            Ok(Lag {
                waiting: main.waiting + again.waiting,
                pending: main.pending + again.pending,
            })
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.handle.shared.queue.close();
            self.reader.close();
            let thread = self.thread.lock().take();
            if let Some(thread) = thread {
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                if !matches!(joined, Ok(Ok(()))) {
                    tracing::error!(path = %self.path().display(), "the writer of the embedded broker ended in a panic");
                }
            }
        })
    }
}
