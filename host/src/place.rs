//! What a place at a broker is.

/// What a place is to its broker: where messages lie, or where they pass. A name says where only together with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaceKind {
    /// A topic of the embedded broker or Kafka. On Kafka also a pattern of topics, which begins with `^`.
    Topic,
    /// A stream of Redis, or of NATS JetStream.
    Stream,
    /// A list of Redis.
    List,
    /// A sorted set of Redis.
    SortedSet,
    /// A channel of Redis.
    Channel,
    /// A pattern of channels of Redis.
    Pattern,
    /// A queue of RabbitMQ.
    Queue,
    /// An exchange of RabbitMQ.
    Exchange,
    /// A subject of NATS.
    Subject,
}

impl PlaceKind {
    /// Every kind, in the order in which keys are looked for.
    pub const ALL: [Self; 9] = [
        Self::Topic,
        Self::Stream,
        Self::List,
        Self::SortedSet,
        Self::Channel,
        Self::Pattern,
        Self::Queue,
        Self::Exchange,
        Self::Subject,
    ];

    /// The key such a place is written with in the configuration, which is also the word for it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Stream => "stream",
            Self::List => "list",
            Self::SortedSet => "sorted_set",
            Self::Channel => "channel",
            Self::Pattern => "pattern",
            Self::Queue => "queue",
            Self::Exchange => "exchange",
            Self::Subject => "subject",
        }
    }
}
