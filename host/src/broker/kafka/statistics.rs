//! What the client tells about itself now and then: whether a server is there, whether its group is steady, how far the
//! partitions reach. It costs no request, and holds for patterns too, since it tells of what was assigned.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::control::Place;

/// How often it tells, in the client's own setting.
pub(super) const EVERY: &str = "1000";

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    brokers: HashMap<String, Server>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
    cgrp: Option<Group>,
}

#[derive(Debug, Deserialize)]
struct Server {
    state: String,
}

#[derive(Debug, Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: HashMap<String, Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    partition: i32,
    /// Behind the last message that may be read; before the first answer a negative number.
    ls_offset: i64,
}

#[derive(Debug, Deserialize)]
struct Group {
    state: String,
    join_state: String,
}

/// What was told last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// A server answers.
    pub(super) connected: bool,
    /// A member of its group, with whatever partitions it was given.
    pub(super) steady: bool,
    ends: HashMap<Arc<str>, HashMap<i32, i64>>,
}

impl Statistics {
    /// Reads the client's JSON; `None` where it is none.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        let told: Told = serde_json::from_slice(json).ok()?;
        let ends = told.topics.into_iter().map(|(name, topic)| {
            let known = topic.partitions.into_values();
            let known = known.filter(|p| p.partition >= 0 && p.ls_offset >= 0);
            (
                name.into(),
                known.map(|p| (p.partition, p.ls_offset)).collect(),
            )
        });
        Some(Self {
            connected: told.brokers.values().any(|s| s.state == "UP"),
            steady: told
                .cgrp
                .is_some_and(|g| g.state == "up" && g.join_state == "steady"),
            ends: ends.collect(),
        })
    }

    /// Behind the last message of a partition.
    pub(super) fn end(&self, place: &Place) -> Option<i64> {
        self.ends.get(&place.topic)?.get(&place.partition).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_servers_and_group_are_read() {
        let json = br#"{"name":"x","brokers":{"a":{"state":"DOWN","x":1},"b":{"state":"UP"}},
            "topics":{"orders":{"topic":"orders","partitions":{
                "0":{"partition":0,"ls_offset":7,"hi_offset":9},
                "1":{"partition":1,"ls_offset":-1001},
                "-1":{"partition":-1,"ls_offset":3}}}},
            "cgrp":{"state":"up","join_state":"steady","rebalance_cnt":1}}"#;
        let read = Statistics::read(json).unwrap();
        assert!(read.connected && read.steady);
        let end = |partition| {
            read.end(&Place {
                topic: "orders".into(),
                partition,
            })
        };
        assert_eq!((end(0), end(1), end(-1)), (Some(7), None, None));
        assert_eq!(Statistics::read(b"{}"), Some(Statistics::default()));
        assert_eq!(Statistics::read(b"nonsense"), None);
    }
}
