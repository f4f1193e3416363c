//! The consumers of a connection: one of the source, one of the subscription's own queue.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{FutureExt as _, join_all};
use futures_util::stream::{self, BoxStream, FusedStream as _, ReadyChunks, SelectAll};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};

use super::connect::within;
use super::subscription::{AT_ONCE, Live, Subscription};

/// How long the server may take to begin or end consuming.
const ANSWER: Duration = Duration::from_secs(10);

/// What comes by the consumers.
pub(super) enum Item {
    Delivered {
        own: bool,
        delivery: Box<Delivery>,
    },
    Failed(lapin::Error),
    /// A consumer ended.
    Ended(ShortString),
}

/// See the module.
pub(super) struct Consumers {
    items: ReadyChunks<SelectAll<BoxStream<'static, Item>>>,
    /// Those that read.
    tags: Vec<ShortString>,
    /// Those that were told to end and have not.
    ending: Vec<ShortString>,
    /// Nothing is read until somebody wants it.
    resting: bool,
    pub(super) prefetch: u16,
}

impl Consumers {
    /// None yet.
    pub(super) fn new(prefetch: u16) -> Self {
        Self {
            items: SelectAll::new().ready_chunks(AT_ONCE),
            tags: Vec::new(),
            ending: Vec::new(),
            resting: false,
            prefetch,
        }
    }

    /// Consumes from both queues.
    pub(super) async fn consume(&mut self, sub: &Subscription, live: &Live) -> lapin::Result<()> {
        self.begin(sub, live, self.prefetch).await
    }

    /// Has another prefetch from now on. For a greater one others read beside those that do: when a consumer of a quorum
    /// queue ends, what is on its way to it goes back as if it had been delivered.
    pub(super) async fn resize(
        &mut self,
        sub: &Subscription,
        live: &Live,
        prefetch: u16,
    ) -> lapin::Result<()> {
        let before = std::mem::replace(&mut self.prefetch, prefetch);
        if prefetch > before {
            return self.begin(sub, live, prefetch - before).await;
        }
        let tags = std::mem::take(&mut self.tags);
        self.begin(sub, live, prefetch).await?;
        self.end_these(live, tags).await
    }

    async fn begin(&mut self, sub: &Subscription, live: &Live, prefetch: u16) -> lapin::Result<()> {
        qos(&live.channel, prefetch).await?;
        for (queue, own) in [(&sub.queue, false), (&sub.retry, true)] {
            let consuming = live.channel.basic_consume(
                queue.clone(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            let consumer = within(ANSWER, consuming).await?;
            self.tags.push(consumer.tag());
            self.items.get_mut().push(items(consumer, own));
        }
        Ok(())
    }

    /// Reads no more until [`wake`](Self::wake). What was on its way still comes.
    pub(super) async fn rest(&mut self, live: &Live) -> lapin::Result<()> {
        self.end(live).await?;
        self.resting = true;
        Ok(())
    }

    /// Reads again.
    pub(super) async fn wake(&mut self, sub: &Subscription, live: &Live) -> lapin::Result<()> {
        if self.items.is_terminated() {
            self.items = SelectAll::new().ready_chunks(AT_ONCE);
        }
        self.resting = false;
        self.consume(sub, live).await
    }

    pub(super) fn resting(&self) -> bool {
        self.resting
    }

    /// Tells those that read to end. What was on its way to them still comes.
    pub(super) async fn end(&mut self, live: &Live) -> lapin::Result<()> {
        self.resting = false;
        let tags = std::mem::take(&mut self.tags);
        self.end_these(live, tags).await
    }

    async fn end_these(&mut self, live: &Live, tags: Vec<ShortString>) -> lapin::Result<()> {
        self.ending.extend(tags.iter().cloned());
        let cancelled = tags.into_iter().map(|tag| {
            let options = BasicCancelOptions::default();
            live.channel.basic_cancel(tag, options)
        });
        let all = async { join_all(cancelled).await.into_iter().collect() };
        within(ANSWER, all).await
    }

    /// What came; `None` once all have ended, but for a rest. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Vec<Item>> {
        match self.items.next().await {
            None if self.resting => std::future::pending().await,
            items => items,
        }
    }

    /// What has come already.
    pub(super) fn come(&mut self) -> Vec<Item> {
        let mut come = Vec::new();
        while let Some(Some(items)) = self.items.next().now_or_never() {
            come.extend(items);
        }
        come
    }

    /// Whether a consumer that ended had been told to.
    pub(super) fn was_told(&mut self, tag: &ShortString) -> bool {
        let at = self.ending.iter().position(|told| told == tag);
        at.map(|at| self.ending.swap_remove(at)).is_some()
    }
}

/// Asks for so many at once. The server answers when it has dealt with what was sent before.
pub(super) async fn qos(channel: &Channel, prefetch: u16) -> lapin::Result<()> {
    let options = BasicQosOptions::default();
    within(ANSWER, channel.basic_qos(prefetch, options)).await
}

fn items(consumer: Consumer, own: bool) -> BoxStream<'static, Item> {
    let tag = consumer.tag();
    let items = consumer.map(move |item| match item {
        Ok(delivery) => Item::Delivered {
            own,
            delivery: Box::new(delivery),
        },
        Err(error) => Item::Failed(error),
    });
    items.chain(stream::iter([Item::Ended(tag)])).boxed()
}
