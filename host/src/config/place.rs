//! Which places each type of broker has, and how a place is written.

use crate::place::PlaceKind::{self, Exchange, Queue, Stream, Subject, Topic};

/// The places of one type of broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// What can be read from.
    pub reads: &'static [PlaceKind],
    /// What can be published to.
    pub writes: &'static [PlaceKind],
    /// What the host makes for itself: where dead letters go, and where they come back from.
    pub own: PlaceKind,
}

impl Places {
    /// Whether one of them is of this kind.
    pub(super) fn have(&self, kind: PlaceKind) -> bool {
        self.reads.contains(&kind) || self.writes.contains(&kind)
    }
}

/// By the type of the broker, also of those that were not compiled in.
const PLACES: [(&str, Places); 5] = [
    (
        "embedded",
        Places {
            reads: &[Topic],
            writes: &[Topic],
            own: Topic,
        },
    ),
    (
        "kafka",
        Places {
            reads: &[Topic],
            writes: &[Topic],
            own: Topic,
        },
    ),
    (
        "redis",
        Places {
            reads: &[Stream],
            writes: &[Stream],
            own: Stream,
        },
    ),
    (
        "rabbitmq",
        Places {
            reads: &[Queue],
            writes: &[Queue, Exchange],
            own: Queue,
        },
    ),
    (
        "nats",
        Places {
            reads: &[Stream, Subject],
            // A stream is published to by a subject that it holds.
            writes: &[Subject],
            own: Subject,
        },
    ),
];

/// The places of brokers of this type; those of the embedded one where there is no such type.
pub(super) fn of(broker_type: &str) -> &'static Places {
    let found = PLACES.iter().find(|(name, _)| *name == broker_type);
    &found.unwrap_or(&PLACES[0]).1
}

/// The types of brokers that have places of this kind.
pub(super) fn types_with(kind: PlaceKind) -> Vec<&'static str> {
    let having = PLACES.iter().filter(|(_, places)| places.have(kind));
    having.map(|(name, _)| *name).collect()
}

/// The first of these keys that is written, as a place. A second one is an error of the file, which is reported.
pub(super) fn first<'a>(keys: &[(PlaceKind, &'a Option<String>)]) -> Option<(PlaceKind, &'a str)> {
    keys.iter()
        .find_map(|(kind, name)| name.as_deref().map(|name| (*kind, name)))
}
