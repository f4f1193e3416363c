//! What the client of a member calls back, on the thread that polls it.
//!
//! What will surprise you: a revoked partition keeps the thread in the callback until what is in hand of it is settled,
//! for [`DRAIN`] at most. Other partitions are handed out from the buffer meanwhile.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::MutexGuard;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::committed::{self, Committed};
use super::control::{Place, Position};
use super::member::{Shared, carry_out};
use super::statistics::Statistics;
use super::trouble::Kind;

/// How long a revoked partition waits for what is in hand of it.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the coordinator may take to say where a partition was left.
const ASK: Duration = Duration::from_secs(5);

/// What the client calls back.
pub(super) struct Context {
    shared: Arc<Shared>,
    /// A group without an offset begins at the start of the log.
    from_start: bool,
    /// What matches the subscription's second topic.
    retry: String,
}

impl Context {
    pub(super) fn new(shared: Arc<Shared>, from_start: bool, retry: String) -> Self {
        Self {
            shared,
            from_start,
            retry,
        }
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, places: &[Place]) {
        let found = committed::ask(consumer.client().native_client(), places, ASK);
        let found = match found {
            Ok(mut found) => {
                self.begin(consumer, places, &mut found);
                found
            }
            // Nothing may be committed on the strength of that: the client asks again by itself and begins there.
            Err(_) => {
                tracing::warn!("kafka: where the group was left is not known, attempts begin anew");
                vec![None; places.len()]
            }
        };
        let mut first = Vec::new();
        let mut control = self.shared.control.lock();
        for (place, found) in places.iter().zip(&found) {
            let found = found.as_ref().map(|(at, text)| (*at, text.as_str()));
            first.extend(control.assigned(place, found));
        }
        drop(control);
        if let Err(error) = commit(consumer, &first, CommitMode::Sync) {
            tracing::warn!(%error, "kafka: where the partitions begin could not be committed");
        }
        self.shared.trouble.over(Kind::Membership);
        if !places.is_empty() {
            self.shared.trouble.over(Kind::Topic);
        }
    }

    /// Where partitions without an offset begin. It is committed at once: a host that went before its first settlement
    /// would leave nothing behind, and the next, told to begin at the end, would skip what came in between.
    fn begin(
        &self,
        consumer: &BaseConsumer<Self>,
        places: &[Place],
        found: &mut [Option<Committed>],
    ) {
        for (place, found) in places.iter().zip(found).filter(|(_, f)| f.is_none()) {
            match consumer.fetch_watermarks(&place.topic, place.partition, ASK) {
                Ok((low, high)) => {
                    let offset = if self.from_start { low } else { high };
                    *found = Some((offset, String::new()));
                }
                Err(error) => {
                    tracing::warn!(%error, ?place, "kafka: where the log begins and ends is not known");
                    // The others would wait as long.
                    break;
                }
            }
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, places: &[Place]) {
        let mut control = self.shared.control.lock();
        if consumer.assignment_lost() {
            control.lost(places);
            return;
        }
        control.leaving(places);
        let deadline = Instant::now() + DRAIN;
        while control.in_hand(places) > 0 && !self.shared.is_closing() && Instant::now() < deadline
        {
            if let Some(flush) = control.flush() {
                // What is in hand may wait behind settlements that wait for this.
                MutexGuard::unlocked(&mut control, || carry_out(consumer, &self.shared, flush));
                continue;
            }
            let deadline = deadline.into_std();
            self.shared.changed.wait_until(&mut control, deadline);
        }
        let missing = control.missing_places();
        let positions = control.revoked(places);
        drop(control);
        forget(consumer, &missing);
        if let Err(error) = commit(consumer, &positions, CommitMode::Sync) {
            tracing::warn!(%error, "kafka: a revoked partition could not be committed, its messages may be repeated");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, fac: &str, message: &str) {
        // What matters of it is told as an error as well, once.
        tracing::debug!(fac, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if is_no_topic(&error) && reason.contains(&self.retry) {
            // It is not there until the first dead letter is sent back.
            return;
        }
        if is_no_topic(&error) {
            self.shared.control.lock().missing(reason);
        }
        self.shared.trouble.told(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Some(told) = Statistics::read(statistics) else {
            return;
        };
        if told.connected {
            self.shared.trouble.over(Kind::Connection);
        }
        if told.steady {
            self.shared.trouble.over(Kind::Membership);
        }
        *self.shared.statistics.lock() = told;
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.assigned(consumer, &places(list)),
            Rebalance::Revoke(list) => self.revoked(consumer, &places(list)),
            Rebalance::Error(error) => self.shared.trouble.told(error, &error.to_string()),
        }
    }
}

/// Whether something that is to be read is not there. The client tells it by name as an error, and without as the
/// answer to a poll.
pub(super) fn is_no_topic(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
    )
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    let place = |e: &TopicPartitionListElem<'_>| Place {
        topic: e.topic().into(),
        partition: e.partition(),
    };
    list.elements().iter().map(place).collect()
}

/// As the client wants them.
pub(super) fn positions(positions: &[Position]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let mut one = list.add_partition(&position.place.topic, position.place.partition);
        one.set_offset(Offset::Offset(position.offset))?;
        one.set_metadata(&position.metadata);
    }
    Ok(list)
}

/// Has the client commit nothing by itself of what it was told to store.
pub(super) fn forget(consumer: &BaseConsumer<Context>, places: &[Place]) {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for place in places {
        let offset = Offset::Invalid;
        if let Err(error) = list.add_partition_offset(&place.topic, place.partition, offset) {
            tracing::debug!(%error, ?place, "kafka: forget");
        }
    }
    if !places.is_empty()
        && let Err(error) = consumer.store_offsets(&list)
    {
        tracing::debug!(%error, "kafka: forget");
    }
}

pub(super) fn commit(
    consumer: &BaseConsumer<Context>,
    at: &[Position],
    mode: CommitMode,
) -> KafkaResult<()> {
    if at.is_empty() {
        return Ok(());
    }
    let list = positions(at)?;
    store(consumer, &list);
    consumer.commit(&list, mode)
}

/// What the client commits by itself, now and at its end, must not be older than this. It refuses a partition that is not
/// ours, and then commits nothing of it either.
pub(super) fn store(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
    if let Err(error) = consumer.store_offsets(list) {
        tracing::debug!(%error, "kafka: store");
    }
}
