//! One member of a group: the thread that polls the client, and what it shares with source and settler.
//!
//! The client's callbacks run on whatever thread polls, and polling blocks; so it is a thread of its own, and nothing
//! else ever calls the client. All decisions are [`Control`]'s. The lock around it is held for moments only: not while
//! polling, and not while the client is told something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::context::{Context, commit, forget, is_no_topic, positions};
use super::control::{Action, Control, Next, Place, Position};
use super::describe::Describing;
use super::ids::{Ids, Which};
use super::record;
use super::sending::Sending;
use super::statistics::Statistics;
use super::trouble::{Kind, Trouble};
use super::wire::Record;

/// How long the client is asked at a time. Actions, and what is due, wait for its end.
const POLL: Duration = Duration::from_millis(20);
/// How long the servers may take to say what a topic is, in milliseconds.
const ANSWER: i32 = 5_000;
/// How long the client may take to begin anew.
const SEEK: Duration = Duration::from_secs(1);
/// Messages taken in one go, so that actions are looked at in between.
const BATCH: usize = 512;
/// How often the last commit is tried: a group that is just being shared out anew refuses it.
const GOODBYES: usize = 5;
/// After an error that came without a wait, so that nothing spins.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// What thread, source and settler share.
pub(super) struct Shared {
    pub(super) control: Mutex<Control<Arc<Record>>>,
    /// Rung when something was handed out or settled: the thread may be waiting for it.
    pub(super) changed: Condvar,
    /// Rung when there is something to fetch.
    pub(super) news: Notify,
    /// Rung when a flush ended.
    pub(super) flushed: Notify,
    pub(super) trouble: Trouble,
    /// Topic or pattern.
    address: Arc<str>,
    pub(super) statistics: Mutex<Statistics>,
    /// The group is being shared out anew: the client has something to say, and waits for whoever polls.
    called: AtomicBool,
    closing: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        control: Control<Arc<Record>>,
        address: &Arc<str>,
        of: impl Into<Arc<str>>,
    ) -> Arc<Self> {
        let trouble = Trouble::new(of);
        trouble.expect(Kind::Membership, "kafka: not a member of the group yet");
        Arc::new(Self {
            control: Mutex::new(control),
            changed: Condvar::new(),
            news: Notify::new(),
            flushed: Notify::new(),
            trouble,
            address: Arc::clone(address),
            statistics: Mutex::default(),
            called: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        })
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        // Under the lock, or the thread could miss it between its look and its wait.
        let _control = self.control.lock();
        self.changed.notify_all();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

/// Polls until closed, and commits what was settled. The client's goodbye to its group is its owner's to say, by dropping it.
/// A member with a name (`stays`) says none: it is to come back to its partitions.
pub(super) fn run(consumer: &BaseConsumer<Context>, shared: &Shared, stays: bool) {
    work(consumer, shared);
    // Not left to the client: at its end it revokes everything, and a commit in that callback is not to be relied on.
    let (places, positions) = {
        let mut control = shared.control.lock();
        let places = control.places();
        control.leaving(&places);
        let positions = control.revoked(&places);
        (places, positions)
    };
    if places.is_empty() && !stays {
        // The client's own goodbye comes with the partitions it gives back. Without one it says none, and the group waits for
        // it until its session is over (librdkafka 2.12, `rd_kafka_cgrp_revoke_all_rejoin`).
        consumer.unsubscribe();
    }
    for _ in 0..GOODBYES {
        match commit(consumer, &positions, CommitMode::Sync) {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "kafka: the last commit"),
        }
        std::thread::sleep(AFTER_ERROR);
    }
    tracing::warn!("kafka: what was settled last could not be committed and may be repeated");
}

fn work(consumer: &BaseConsumer<Context>, shared: &Shared) {
    let describing = Describing::new(consumer.client().native_client());
    let mut sending = Sending::new(consumer.client().native_client());
    let mut ids = Ids::default();
    while !shared.is_closing() {
        compare(consumer, shared, &describing, &mut ids);
        if let Some((at, result)) = sending.answer() {
            answered(shared, &at, result);
        }
        let (actions, next, stopping) = {
            let mut control = shared.control.lock();
            let (actions, next) = control.turn(Instant::now());
            (actions, next, control.is_stopping())
        };
        for action in actions {
            match action {
                Action::Send(at) => {
                    if let Err((at, error)) = sending.send(consumer, at) {
                        answered(shared, &at, Err(error));
                    }
                }
                action => carry_out(consumer, shared, action),
            }
        }
        // What was due, or may be handed out after a commit.
        ring(shared);
        match next {
            Next::Poll if !stopping => poll(consumer, shared, POLL),
            Next::Poll => {
                // Settlements wait for their commit now.
                poll(consumer, shared, Duration::ZERO);
                let mut control = shared.control.lock();
                if control.is_flushed(control.settled()) && !shared.is_closing() {
                    shared.changed.wait_for(&mut control, POLL);
                }
            }
            // Where the buffer is full as well: what it holds is nobody's until the group is at peace.
            Next::Wait(_) if shared.called.swap(false, Ordering::Relaxed) => {
                poll(consumer, shared, Duration::ZERO);
            }
            Next::Wait(most) => {
                let mut control = shared.control.lock();
                if !shared.is_closing() {
                    shared.changed.wait_for(&mut control, most);
                }
            }
        }
    }
}

/// Looks whether the topics that are read are the ones they were.
fn compare(
    consumer: &BaseConsumer<Context>,
    shared: &Shared,
    describing: &Describing<'_>,
    ids: &mut Ids,
) {
    let found = describing.answer();
    if found.is_some() {
        ids.answered();
    }
    for (topic, id) in found.into_iter().flatten() {
        let another = ids.which(&topic, id) == Which::Another;
        let places = shared.control.lock().places_of(&topic);
        let Some(first) = places.first() else {
            continue;
        };
        if another {
            tracing::warn!(
                topic,
                "kafka: the topic was deleted and made again, it is read from its beginning"
            );
            if let Err(error) = rewind(consumer, &places) {
                tracing::debug!(%error, topic, "kafka: not yet");
                shared.control.lock().missing(&topic);
                continue;
            }
        }
        ids.know(&first.topic, id);
        let first = shared.control.lock().found(&topic, another);
        if let Err(error) = commit(consumer, &first, CommitMode::Sync) {
            tracing::warn!(%error, topic, "kafka: where the partitions begin could not be committed");
        }
    }
    let (ours, missing) = {
        let control = shared.control.lock();
        (control.topics(), control.missing_places())
    };
    if ids.is_due(&ours, !missing.is_empty(), Instant::now()) {
        forget(consumer, &missing);
        let ours: Vec<&str> = ours.iter().map(|topic| &**topic).collect();
        describing.ask(&ours, ANSWER);
    }
}

/// Has the client begin these anew.
fn rewind(consumer: &BaseConsumer<Context>, places: &[Place]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for place in places {
        list.add_partition_offset(&place.topic, place.partition, Offset::Beginning)?;
    }
    let sought = consumer.seek_partitions(list, SEEK)?;
    sought.elements().iter().try_for_each(|one| one.error())
}

fn ring(shared: &Shared) {
    if shared.control.lock().is_ready() {
        shared.news.notify_one();
    }
}

pub(super) fn carry_out(consumer: &BaseConsumer<Context>, shared: &Shared, action: Action) {
    let result = match &action {
        Action::Pause(at) => consumer.pause(&list(at)),
        Action::Resume(at) => consumer.resume(&list(at)),
        Action::Begin(at) => {
            let result = commit(consumer, std::slice::from_ref(at), CommitMode::Sync);
            let mut control = shared.control.lock();
            control.began(at, result.is_ok(), Instant::now());
            result
        }
        Action::Store(at) => positions(at).and_then(|list| consumer.store_offsets(&list)),
        Action::Commit(at) | Action::Send(at) => {
            let result = commit(consumer, at, CommitMode::Sync);
            if result.is_err() {
                shared.control.lock().not_committed(at);
            }
            result
        }
        Action::Flush(at, upto) => {
            let result = commit(consumer, at, CommitMode::Sync);
            let mut control = shared.control.lock();
            control.flushed(*upto, result.is_ok());
            drop(control);
            shared.flushed.notify_waiters();
            if result.is_err() {
                std::thread::sleep(AFTER_ERROR);
            }
            result
        }
    };
    if let Err(error) = result {
        refused(shared, &error);
        tracing::debug!(%error, ?action, "kafka");
    }
}

/// What became of a commit that was not waited for.
fn answered(shared: &Shared, at: &[Position], result: KafkaResult<()>) {
    shared.control.lock().answered(at, result.is_ok());
    if let Err(error) = result {
        refused(shared, &error);
        tracing::debug!(%error, ?at, "kafka: sent");
    }
}

/// Mostly: the partition has just gone elsewhere. Nothing is committed by mistake, and what counts is tried again.
fn refused(shared: &Shared, error: &KafkaError) {
    if error.rdkafka_error_code().is_some_and(says_shared_anew) {
        shared.called.store(true, Ordering::Relaxed);
    }
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OffsetMetadataTooLarge) {
        shared.control.lock().text_refused();
    }
}

/// Whether the server refuses a member because the group is not what the member takes it for.
fn says_shared_anew(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownMemberId
            | RDKafkaErrorCode::IllegalGeneration
            | RDKafkaErrorCode::RebalanceInProgress
    )
}

fn list(places: &[Place]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for place in places {
        list.add_partition(&place.topic, place.partition);
    }
    list
}

fn poll(consumer: &BaseConsumer<Context>, shared: &Shared, mut patience: Duration) {
    let (mut came, mut last_was_error) = (false, false);
    // Most of a batch is of one topic.
    let mut topic: Arc<str> = "".into();
    for _ in 0..BATCH {
        match consumer.poll(patience) {
            None => break,
            Some(Ok(message)) => {
                if *topic != *message.topic() {
                    topic = message.topic().into();
                }
                let record = record::read(&message, &topic);
                let bytes = record.size();
                let (partition, offset) = (record.partition, record.offset);
                let mut control = shared.control.lock();
                control.message(&topic, partition, offset, bytes, Arc::new(record));
                (came, last_was_error) = (true, false);
            }
            Some(Err(error)) => {
                // Others may lie behind it, from a time when nobody polled, and what matters behind those.
                failed(shared, &error);
                last_was_error = true;
            }
        }
        patience = Duration::ZERO;
    }
    if came && !last_was_error {
        shared.trouble.over(Kind::Membership);
        shared.trouble.over(Kind::Connection);
    }
    if came {
        ring(shared);
    } else if last_was_error {
        let mut control = shared.control.lock();
        if !shared.is_closing() {
            shared.changed.wait_for(&mut control, AFTER_ERROR);
        }
    }
}

fn failed(shared: &Shared, error: &KafkaError) {
    if !is_no_topic(error) {
        // The client's text does not name the topic.
        let what = format!("reading `{}`", shared.address);
        shared.trouble.answered(error, &what);
    }
}
