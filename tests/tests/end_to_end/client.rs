//! A client of the test's own at the broker a host uses: it publishes, and reads without consuming.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamInfoGroupsReply, StreamRangeReply};
use wharf::broker::embedded::Embedded;
use wharf::commit::{Destination, Publication};
use wharf::config;
use wharf::message::{Header, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{Broker as _, PublishError};
use wharf_tests::host::eventually;

pub(crate) use wharf_tests::count::{Item, message};
pub(crate) use wharf_tests::host::PATIENCE;

pub(crate) enum Client {
    Embedded(Embedded),
    Redis(MultiplexedConnection),
}

impl Client {
    /// A client of an embedded file.
    pub(crate) fn embedded(path: &Path) -> Self {
        let options = config::Embedded::new(path);
        Self::Embedded(Embedded::open_client("test", &options).expect("a file"))
    }

    fn file(&self) -> &Embedded {
        match self {
            Self::Embedded(broker) => broker,
            Self::Redis(_) => panic!("only of an embedded file"),
        }
    }

    /// Publishes to an embedded topic. Answers what became of each.
    pub(crate) async fn try_publish(
        &self,
        topic: &str,
        all: Vec<Outgoing>,
    ) -> Vec<Result<(), PublishError>> {
        let destination = Arc::new(Destination::new("test", "test", PlaceKind::Topic, topic));
        let all: Vec<Publication> = all
            .into_iter()
            .map(|message| Publication {
                destination: Arc::clone(&destination),
                message,
            })
            .collect();
        let batch: Vec<&Publication> = all.iter().collect();
        self.file().publisher().publish(&batch).await
    }

    /// Publishes; on Redis as any other client would, with id and payload only.
    pub(crate) async fn publish(&self, topic: &str, all: Vec<Outgoing>) {
        match self {
            Self::Embedded(_) => {
                for result in self.try_publish(topic, all).await {
                    result.expect("published");
                }
            }
            Self::Redis(connection) => {
                let mut pipe = redis::pipe();
                for message in &all {
                    let id = message.id.as_deref().expect("an id");
                    pipe.cmd("XADD").arg(topic).arg("*");
                    pipe.arg("wharf-id")
                        .arg(id)
                        .arg("payload")
                        .arg(&message.payload[..]);
                    pipe.ignore();
                }
                let mut connection = connection.clone();
                let () = pipe.query_async(&mut connection).await.expect("published");
            }
        }
    }

    /// All messages of a topic, in order.
    pub(crate) async fn items(&self, topic: &str) -> Vec<Item> {
        match self {
            Self::Embedded(broker) => {
                let found = broker
                    .browse(topic, 1, usize::MAX >> 1)
                    .await
                    .expect("read");
                let item = |m: wharf::broker::embedded::StoredMessage| Item {
                    id: m.id.to_string(),
                    key: m.key,
                    headers: m.headers,
                    payload: m.payload,
                };
                found.into_iter().map(item).collect()
            }
            Self::Redis(connection) => {
                let mut connection = connection.clone();
                let mut range = redis::cmd("XRANGE");
                range.arg(topic).arg("-").arg("+");
                let reply: StreamRangeReply =
                    range.query_async(&mut connection).await.expect("read");
                reply.ids.iter().map(entry).collect()
            }
        }
    }

    /// How many messages were ever published to a topic (embedded), or are in it (Redis).
    pub(crate) async fn count(&self, topic: &str) -> u64 {
        match self {
            Self::Embedded(broker) => broker.last_seq(topic).await.expect("read"),
            Self::Redis(connection) => {
                let mut connection = connection.clone();
                let count = redis::cmd("XLEN")
                    .arg(topic)
                    .query_async(&mut connection)
                    .await;
                count.expect("read")
            }
        }
    }

    /// What the group still has before it or in hand.
    pub(crate) async fn left(&self, topic: &str, group: &str) -> u64 {
        match self {
            Self::Embedded(broker) => {
                let lag = broker.depth(topic, group).await.expect("read");
                lag.waiting + lag.pending
            }
            Self::Redis(connection) => {
                let mut connection = connection.clone();
                let groups: Result<StreamInfoGroupsReply, _> = redis::cmd("XINFO")
                    .arg("GROUPS")
                    .arg(topic)
                    .query_async(&mut connection)
                    .await;
                let Ok(groups) = groups else { return u64::MAX };
                let found = groups.groups.iter().find(|g| g.name == group);
                found.map_or(u64::MAX, |g| (g.pending + g.lag.unwrap_or(0)) as u64)
            }
        }
    }

    /// Waits until so many messages are in a topic.
    pub(crate) async fn until_count(&self, topic: &str, count: u64) {
        let what = format!("{count} messages in {topic}");
        eventually(&what, PATIENCE, async || {
            (self.count(topic).await >= count).then_some(())
        })
        .await;
    }

    /// Waits until the group has nothing before it and nothing in hand.
    pub(crate) async fn until_done(&self, topic: &str, group: &str) {
        let what = format!("nothing left in {topic} for {group}");
        eventually(&what, PATIENCE, async || {
            (self.left(topic, group).await == 0).then_some(())
        })
        .await;
    }
}

fn entry(entry: &StreamId) -> Item {
    let bytes = |name: &str| entry.get::<Vec<u8>>(name).map(Bytes::from);
    let text = |name: &str| entry.get::<String>(name);
    let headers = entry
        .map
        .keys()
        .filter(|name| !["payload", "wharf-id", "wharf-key"].contains(&name.as_str()));
    Item {
        id: text("wharf-id").unwrap_or_else(|| entry.id.clone()),
        key: bytes("wharf-key"),
        headers: headers
            .map(|name| Header {
                name: name.as_str().into(),
                value: bytes(name).unwrap_or_default(),
            })
            .collect(),
        payload: bytes("payload").unwrap_or_default(),
    }
}

/// Plugin `p`, which is the puppet, from `in` to `out` on the embedded file `wharf.db`; `more` are further keys of it.
pub(crate) fn puppet(more: &str) -> String {
    format!(
        "brokers: {{ local: {{ type: embedded, path: wharf.db }} }}\n\
         plugins:\n  p:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: local, topic: in }} }}\n    \
         publish: {{ out: {{ broker: local, topic: out }} }}\n{more}"
    )
}

/// Where dead letters of [`puppet`] go.
pub(crate) const LETTERS: &str = "dlq.in.p";
