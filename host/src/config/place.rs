//! Which places each type of broker has, and how a place is written.

use crate::place::PlaceKind::{
    self, Channel, Exchange, List, Pattern, Queue, SortedSet, Stream, Subject, Topic,
};

/// The places of one type of broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// What can be read from.
    pub reads: &'static [PlaceKind],
    /// What can be published to.
    pub writes: &'static [PlaceKind],
    /// What dead letters can lie in: whatever keeps what is put there until it is taken.
    pub dead_letters: &'static [PlaceKind],
    /// What the host makes for itself: where dead letters go, and where they come back from.
    pub own: PlaceKind,
    /// Which of `reads` an order can be promised to. The adapters declare it (`Capabilities::orders`), and a test of the
    /// conformance suite holds this to them.
    pub orders: &'static [PlaceKind],
    /// Why not to the others: how "a promise that `…` cannot keep" goes on. Empty where there are no others.
    pub unordered: &'static str,
}

impl Places {
    /// The types of brokers that have places, also those that were not compiled in.
    pub fn types() -> impl Iterator<Item = &'static str> {
        PLACES.iter().map(|(name, _)| *name)
    }

    /// Why no order can be promised to what reads a place of this kind; `None` where one can. Where nothing is named that can
    /// be read, which is an error of its own, an order is refused only if none could be promised to anything.
    #[must_use]
    pub fn refuses_order(&self, kind: Option<PlaceKind>) -> Option<&'static str> {
        let ordered = match kind.filter(|kind| self.reads.contains(kind)) {
            Some(kind) => self.orders.contains(&kind),
            None => !self.orders.is_empty(),
        };
        (!ordered).then_some(self.unordered)
    }

    /// What a place of dead letters is that was called `named`: that, or what the host makes for itself.
    #[must_use]
    pub fn dead_letter(&self, named: Option<PlaceKind>) -> PlaceKind {
        let named = named.filter(|kind| self.dead_letters.contains(kind));
        named.unwrap_or(self.own)
    }

    /// What the place is from which dead letters come back to a subscription that reads `kind`: lists and sorted sets are
    /// read by other means than streams, and so are channels, which themselves keep nothing.
    #[must_use]
    pub fn retry(&self, kind: PlaceKind) -> PlaceKind {
        match kind {
            List | SortedSet | Channel | Pattern => List,
            _ => self.own,
        }
    }

    /// That kind, where it can be published to.
    #[must_use]
    pub fn writable(&self, kind: PlaceKind) -> Option<PlaceKind> {
        self.writes.contains(&kind).then_some(kind)
    }

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
            dead_letters: &[Topic],
            own: Topic,
            orders: &[Topic],
            unordered: "",
        },
    ),
    (
        "kafka",
        Places {
            reads: &[Topic],
            writes: &[Topic],
            dead_letters: &[Topic],
            own: Topic,
            orders: &[Topic],
            unordered: "",
        },
    ),
    (
        "redis",
        Places {
            reads: &[Stream, List, SortedSet, Channel, Pattern],
            writes: &[Stream, List, SortedSet, Channel],
            dead_letters: &[Stream, List, SortedSet],
            own: Stream,
            orders: &[],
            unordered: "yet: redis has no leased shards",
        },
    ),
    (
        "rabbitmq",
        Places {
            reads: &[Queue],
            writes: &[Queue, Exchange],
            dead_letters: &[Queue],
            own: Queue,
            // With a single active consumer, which is checked apart.
            orders: &[Queue],
            unordered: "",
        },
    ),
    (
        "nats",
        Places {
            reads: &[Stream, Subject],
            // A stream is published to by a subject that it holds.
            writes: &[Subject],
            dead_letters: &[Subject],
            own: Subject,
            orders: &[],
            unordered: "yet: what is released on NATS comes again behind the others",
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
