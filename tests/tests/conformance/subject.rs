//! What the suite needs from a broker to play on it.
//!
//! The client in here is a stranger's: the plain client crate of that broker, or the broker's own tools, so that what
//! it writes and reads is what any other program would.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use wharf::message::Outgoing;
use wharf::ports::Capabilities;
use wharf_tests::count::Item;
use wharf_tests::proxy::Proxy;

use crate::table::Nature;

/// A broker of a test's own, gone with the value.
pub(crate) trait Subject: Sized {
    /// Where outputs are sent when their destination has to be away: the same again where it is a server.
    type Elsewhere: Subject;

    /// The head of its column in `docs/capabilities.md`.
    const COLUMN: &'static str;

    /// Longer than it waits for a host that says nothing, as [`broker`](Self::broker) sets it.
    const SLOW: Duration;

    /// Within this time after a host died, another has handled what it had in hand, as [`broker`](Self::broker) sets it.
    const TAKEOVER: Duration;

    /// Whether it counts the deliveries of every message, where it counts any.
    const COUNTS_EACH_DELIVERY: bool = true;

    /// What its adapter declares, asked from the adapter. Called within a runtime.
    fn capabilities() -> Capabilities;

    /// What it is, apart from what its adapter can do.
    fn nature() -> Nature;

    /// One that is not running yet and keeps what it has in `folder`.
    fn place(folder: &Path) -> Self;

    /// One that runs, and that other scenarios are played on as well: for those that do nothing to it as a whole. `None`
    /// where each can have its own.
    async fn shared() -> Option<Self> {
        None
    }

    /// Starts it, for the first time or again with what it had, and waits until it answers.
    async fn up(&mut self);

    /// Kills it (SIGKILL) and waits until it is gone. Only where it is a server.
    fn down(&mut self);

    /// The port it listens on, at 127.0.0.1. Only where it is a server.
    fn port(&self) -> u16;

    /// A proxy before it; a host that is to go through it is told its port. Only where it is a server.
    async fn proxy(&self) -> Proxy {
        Proxy::start(self.port()).await
    }

    /// Its value under `brokers` in `wharf.yaml`, with the shortest times it allows for recovery; at another port
    /// where one is given.
    fn broker(&self, port: Option<u16>) -> String;

    /// The keys of a subscription, after `broker`.
    fn source(&self, place: &str) -> String;

    /// The keys of a destination, after `broker`.
    fn destination(&self, place: &str) -> String;

    /// Makes a place for messages, of one partition where it has such. Nothing to do where the first message makes it.
    async fn create(&self, place: &str);

    /// Gives a place so many partitions, where only those can be shared by several hosts.
    async fn spread(&self, _place: &str, _partitions: usize) {}

    /// Makes a place that was created one whose order can be promised, where not every place is.
    async fn keep_order(&mut self, _place: &str) {}

    /// From now on it waits only so long for a settlement, and hosts are told so. Only where its patience is bounded.
    async fn lose_patience(&mut self, after: Duration) {
        unreachable!("it waits for ever, not {after:?}");
    }

    /// Publishes: id, key, headers and payload.
    async fn publish(&self, to: &str, messages: &[Outgoing]);

    /// All messages of a place that nobody reads, in order where it has one.
    async fn items(&self, place: &str) -> Vec<Item>;

    /// How many messages ever came to a place that nobody reads.
    async fn count(&self, place: &str) -> u64;

    /// What the broker itself says the group still has before it.
    async fn left(&self, place: &str, group: &str) -> Left;

    /// Which members the group has, once the broker has shared the source out among them; nobody while it has not. `None`
    /// where it shares nothing out.
    async fn members(&self, _group: &str) -> Option<BTreeSet<String>> {
        None
    }

    /// Deletes a place with all that is in it. Only where that can be done.
    async fn delete(&self, place: &str);

    /// Makes a destination refuse everything, for a reason that may pass, or ends that. Only where that can be done.
    async fn obstruct(&self, place: &str, on: bool);

    /// An output, as the puppet is told it, that this broker never takes for what it is.
    fn unpublishable() -> serde_json::Value;
}

/// What a group still has before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Never delivered.
    pub(crate) waiting: u64,
    /// Delivered and not settled.
    pub(crate) pending: u64,
    /// What is kept beside the messages for those that are not settled: attempts, delays.
    pub(crate) records: u64,
}

impl Left {
    pub(crate) const NOTHING: Self = Self {
        waiting: 0,
        pending: 0,
        records: 0,
    };
}
