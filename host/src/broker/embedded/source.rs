//! The reading half of a subscription.
//!
//! A fetch asks the writer and keeps the place where the answer will arrive in the source itself, so a fetch that is
//! cancelled loses nothing: the next one waits for the same answer. What is dropped with the source is released.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::Handle;
use super::error::Error;
use super::fetch::{Catch, Fetch, Fetched, give_back};
use super::id::Leg;
use super::job::{Answer, Operation};
use super::ledger::{GroupAt, Ledger};
use super::schema::{IN_HAND, READY};
use crate::delivery::{Delivery, Inbox};
use crate::message::Origin;
use crate::ports::{BrokerError, Room, Source, SubscriptionSpec};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// What a source and its settler share.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) spec: SubscriptionSpec,
    /// `retry.{subscription}.{plugin}`
    pub(super) retry: Arc<str>,
    pub(super) broker: Arc<str>,
}

/// The name of a subscription's own second topic.
pub fn retry_topic(subscription: &str, plugin: &str) -> String {
    format!("retry.{subscription}.{plugin}")
}

impl Subscription {
    fn address(&self, leg: Leg) -> &Arc<str> {
        match leg {
            Leg::Main => &self.spec.address,
            Leg::Retry => &self.retry,
        }
    }

    /// Its group on one of its topics, where both exist.
    pub(super) fn find(&self, ledger: &Ledger, leg: Leg) -> Option<GroupAt> {
        ledger
            .find_topic(self.address(leg))
            .and_then(|topic| ledger.find_group(topic, &self.spec.group))
    }

    /// As [`find`](Self::find); joins the retry topic once somebody has made it, and finds all that is in it.
    pub(super) fn find_or_join(
        &self,
        ledger: &mut Ledger,
        leg: Leg,
    ) -> rusqlite::Result<Option<GroupAt>> {
        let Some(topic) = ledger.find_topic(self.address(leg)) else {
            return Ok(None);
        };
        let from_start = leg == Leg::Retry || self.spec.from_start;
        ledger
            .group_named(topic, &self.spec.group, from_start)
            .map(Some)
    }
}

/// Makes topic and group, and takes back what an earlier subscription of this process left in hand.
pub(super) struct Subscribe {
    pub(super) subscription: Arc<Subscription>,
}

impl Operation for Subscribe {
    type Output = ();

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        let spec = &self.subscription.spec;
        let topic = ledger.topic_named(&spec.address)?;
        let main = ledger.group_named(topic, &spec.group, spec.from_start)?;
        let retry = self.subscription.find_or_join(ledger, Leg::Retry)?;
        for at in [Some(main), retry].into_iter().flatten() {
            let group = ledger.group(at).id;
            ledger
                .sql("UPDATE pending SET state = ?1, due_ms = NULL WHERE grp = ?2 AND state = ?3")?
                .execute([READY, group, IN_HAND])?;
        }
        Ok(())
    }
}

/// Reads one subscription.
pub(super) struct EmbeddedSource {
    pub(super) handle: Arc<Handle>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) inbox: Arc<Inbox>,
    /// Woken by the writer after a commit that touched one of the two topics. Its stored permit covers a commit
    /// between an empty answer and the wait.
    pub(super) news: Arc<Notify>,
    /// Where the answer to the latest fetch will arrive.
    asked: Option<Answer<Catch>>,
    /// Arrived and not handed over: what a cancelled fetch got, beyond the room of the next one.
    spare: VecDeque<Fetched>,
}

impl EmbeddedSource {
    pub(super) fn new(
        handle: Arc<Handle>,
        subscription: Arc<Subscription>,
        inbox: Arc<Inbox>,
        news: Arc<Notify>,
    ) -> Self {
        Self {
            handle,
            subscription,
            inbox,
            news,
            asked: None,
            spare: VecDeque::new(),
        }
    }

    /// Asks the writer, or goes on waiting for what was asked before.
    async fn ask(&mut self, room: Room) -> Result<Catch, Error> {
        let answer = match &mut self.asked {
            Some(answer) => answer,
            none => {
                let fetch = Fetch {
                    subscription: Arc::clone(&self.subscription),
                    room,
                };
                none.insert(self.handle.submit(fetch).await?)
            }
        };
        let catch = answer.await;
        self.asked = None;
        catch.unwrap_or(Err(Error::Closed))
    }

    fn hand_over(&mut self, room: Room) -> Vec<Delivery> {
        let mut bytes = room.bytes;
        let mut deliveries = Vec::with_capacity(self.spare.len().min(room.messages));
        while deliveries.len() < room.messages && (bytes > 0 || deliveries.is_empty()) {
            let Some(fetched) = self.spare.pop_front() else {
                break;
            };
            bytes = bytes.saturating_sub(fetched.stored.size());
            deliveries.push(self.delivery(fetched));
        }
        deliveries
    }

    fn delivery(&self, fetched: Fetched) -> Delivery {
        let Subscription { spec, broker, .. } = &*self.subscription;
        let origin = Origin {
            broker: Arc::clone(broker),
            source: Arc::clone(self.subscription.address(fetched.leg)),
            partition: None,
            position: fetched.stored.seq.to_string().into(),
            group: Some(Arc::clone(&spec.group)),
        };
        let mut message = fetched.stored.into_message(spec, origin);
        message.attempts = fetched.attempts;
        message.first_failed_ms = fetched.first_failed_ms;
        message.deliveries = fetched.deliveries;
        Delivery::new(fetched.token, message, &self.inbox)
    }
}

impl Source for EmbeddedSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            let mut backoff = FIRST_BACKOFF;
            loop {
                if !self.spare.is_empty() {
                    return Ok(self.hand_over(room));
                }
                match self.ask(room).await {
                    Ok(catch) if catch.messages.is_empty() => {
                        wait(&self.news, catch.next_due_in).await;
                    }
                    Ok(catch) => self.spare.extend(catch.messages),
                    Err(error @ (Error::Closed | Error::NotOwner { .. })) => {
                        return Err(error.into());
                    }
                    // A full disk, another process that writes for long: shown by the broker's health, waited out here.
                    Err(error) => {
                        tracing::debug!(subscription = %self.subscription.spec.name, %error, "fetch will be tried again");
                        tokio::time::sleep(backoff).await;
                        backoff = (backoff * 2).min(LONGEST_BACKOFF);
                    }
                }
            }
        })
    }
}

async fn wait(news: &Notify, next_due_in: Option<u64>) {
    match next_due_in {
        Some(ms) => {
            // News and the time being up are followed by the same: another look.
            tokio::select! {
                () = news.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(ms)) => {}
            }
        }
        None => news.notified().await,
    }
}

impl Drop for EmbeddedSource {
    fn drop(&mut self) {
        if let Some(mut answer) = self.asked.take() {
            // Closed first: an answer that is still to come goes back by itself.
            answer.close();
            if let Ok(Ok(catch)) = answer.try_recv() {
                self.spare.extend(catch.messages);
            }
        }
        if let Some(job) = give_back(&self.subscription, self.spare.drain(..)) {
            self.handle.submit_now(job);
        }
    }
}
