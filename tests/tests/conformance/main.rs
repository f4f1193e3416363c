//! The one conformance suite: the same scenarios on every broker, with the real program and real servers.
//!
//! A [scenario](scenarios) is one function over a [`Subject`](subject::Subject), the broker it is played on. Every
//! pair is a test of its own, so `cargo test --workspace --test conformance redis_streams::` runs one broker and a failure names
//! both. After each the broker itself is asked what is left, and must say: nothing.
//!
//! A pair is left out only where the [table](table) says that the broker cannot do it; `skipped.txt` is the list of
//! those pairs, and a test holds it. Messages are published and read by clients that know nothing of Wharf.
//!
//! Beside the scenarios, every broker is the source of [every other](pairs), and of itself.
//!
//! A new broker is one file in [`brokers`], and a line there and in [`each_broker`].

#[macro_use]
mod scenarios;
mod brokers;
mod pairs;
mod stage;
mod subject;
mod table;

/// The tests of one broker.
macro_rules! tests_of {
    ([$broker:ident $subject:ty] $($file:ident::$scenario:ident [$($need:ident)*];)*) => {
        mod $broker {
            $(
                #[tokio::test]
                async fn $scenario() {
                    const NEEDS: &[crate::table::Need] = &[$(crate::table::Need::$need),*];
                    let play = crate::scenarios::$file::$scenario;
                    crate::stage::play::<$subject>(stringify!($scenario), NEEDS, play).await;
                }
            )*
        }
    };
}

macro_rules! each_broker {
    ($($broker:ident: $subject:ty;)*) => {
        $(each_scenario!(tests_of [$broker $subject]);)*

        /// What every broker can do, by the name of its tests.
        fn rows() -> Vec<(&'static str, table::Row)> {
            vec![$((stringify!($broker), table::Row::of::<$subject>())),*]
        }

        #[tokio::test]
        async fn every_source_publishes_to_every_destination() {
            pairs::play(async |parties, place| {
                $(pairs::join::<$subject>(parties, place).await;)*
            })
            .await;
        }
    };
}

each_broker! {
    embedded: crate::brokers::embedded::Embedded;
    redis_streams: crate::brokers::redis_streams::RedisStreams;
    redis_lists: crate::brokers::redis_places::RedisLists;
    redis_sorted_sets: crate::brokers::redis_places::RedisSortedSets;
    redis_channels: crate::brokers::redis_places::RedisChannels;
    kafka: crate::brokers::kafka::Kafka;
    rabbitmq_classic: crate::brokers::rabbitmq::Classic;
    rabbitmq_quorum: crate::brokers::rabbitmq::Quorum;
    nats_core: crate::brokers::nats::Core;
    nats_jetstream: crate::brokers::nats::JetStream;
}
