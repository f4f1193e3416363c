//! A cluster: which node has which slot, and how that is learned.
//!
//! The client's own cluster connection is not used, for the reasons its reconnecting manager is not: it repeats commands
//! whose answer was lost, and a group read that is repeated leaves messages pending with nobody. Here a command goes to
//! the node that has its slot, a redirection is followed, and any other failure is the caller's.
//!
//! What is known is thrown away when it misled us, and asked for anew by whoever needs it next: all nodes that were ever
//! told of and all seeds at once, the first answer counts. One that is behind costs a redirection.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::RwLock;
use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value};

use super::endpoint::{Dial, moved};
use super::slot::Slot;
use crate::broker::redis::entry;

/// A node, by host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl Node {
    fn new(host: &str, port: u16) -> Self {
        let host = host.into();
        Self { host, port }
    }

    /// From `host:port`. An empty host means the node that said it.
    fn parse(text: &str, said_by: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok()?;
        Some(match host.trim_start_matches('[').trim_end_matches(']') {
            "" | "?" => Self::new(&said_by.host, port),
            host => Self::new(host, port),
        })
    }
}

/// Which node has which slot, as far as is known.
#[derive(Debug, Default)]
struct Map {
    /// First and last slot, and their master.
    ranges: Vec<(Slot, Slot, Node)>,
    /// Slots that were found elsewhere since.
    moved: HashMap<Slot, Node>,
    /// All nodes of the last answer, replicas included: whom to ask next.
    known: BTreeSet<Node>,
}

impl Map {
    fn owner(&self, slot: Slot) -> Option<&Node> {
        self.moved.get(&slot).or_else(|| {
            let mut ranges = self.ranges.iter();
            ranges
                .find(|(first, last, _)| (*first..=*last).contains(&slot))
                .map(|(_, _, node)| node)
        })
    }

    /// What CLUSTER SLOTS answered.
    fn read(answer: Value, said_by: &Node) -> Self {
        let mut map = Self::default();
        for row in entry::items(answer).unwrap_or_default() {
            let mut row = entry::items(row).unwrap_or_default().into_iter();
            let mut number = || row.next().as_ref().and_then(entry::int)?.try_into().ok();
            let (Some(first), Some(last)) = (number(), number()) else {
                continue;
            };
            let nodes: Vec<Node> = row.filter_map(|node| told(node, said_by)).collect();
            if let Some(master) = nodes.first() {
                map.ranges.push((first, last, master.clone()));
            }
            map.known.extend(nodes);
        }
        map
    }

    fn masters(&self) -> BTreeSet<Node> {
        let ranges = self.ranges.iter().map(|(_, _, node)| node);
        ranges.chain(self.moved.values()).cloned().collect()
    }
}

/// `[host, port, …]`.
fn told(node: Value, said_by: &Node) -> Option<Node> {
    let mut node = entry::items(node)?.into_iter();
    let host = node.next().and_then(entry::text).unwrap_or_default();
    let port = u16::try_from(entry::int(&node.next()?)?).ok()?;
    Some(match host.as_str() {
        "" | "?" => Node::new(&said_by.host, port),
        host => Node::new(host, port),
    })
}

/// Where an answer sends us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// The slot is there from now on.
    Moved(Node),
    /// This one command is to go there, announced.
    Ask(Node),
}

impl Hop {
    /// What `node` said, if it was a redirection.
    pub(super) fn of(error: &RedisError, node: &Node) -> Option<Self> {
        let (address, _) = error.redirect_node()?;
        let to = Node::parse(address, node)?;
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Ask) => Some(Self::Ask(to)),
            _ => Some(Self::Moved(to)),
        }
    }
}

/// What is known of a cluster, shared by all connections of a broker.
pub(super) struct Cluster {
    seeds: Vec<ConnectionInfo>,
    dial: Dial,
    map: RwLock<Map>,
    /// Held while asking, so that many callers ask once.
    asking: tokio::sync::Mutex<()>,
    /// How often it was asked with success.
    asked: AtomicU64,
}

impl Cluster {
    /// `seeds` is not empty; user and certificates of the first are for all nodes.
    pub(super) fn new(seeds: Vec<ConnectionInfo>, dial: Dial) -> Self {
        Self {
            seeds,
            dial,
            map: RwLock::default(),
            asking: tokio::sync::Mutex::default(),
            asked: AtomicU64::new(0),
        }
    }

    /// How a node is reached.
    pub(super) fn info(&self, node: &Node) -> ConnectionInfo {
        moved(&self.seeds[0], node.host.to_string(), node.port)
    }

    /// The node that has a slot; without one, any master. Asks where it is not known.
    pub(super) async fn node(&self, slot: Option<Slot>) -> Result<Node, RedisError> {
        if let Some(node) = self.known(slot) {
            return Ok(node);
        }
        let _asking = self.asking.lock().await;
        if let Some(node) = self.known(slot) {
            return Ok(node);
        }
        self.ask().await?;
        self.known(slot).ok_or_else(|| {
            RedisError::from(std::io::Error::other(
                "no node of the cluster has the slot of this key just now",
            ))
        })
    }

    fn known(&self, slot: Option<Slot>) -> Option<Node> {
        let map = self.map.read();
        match slot {
            Some(slot) => map.owner(slot).cloned(),
            None => map.ranges.first().map(|(_, _, node)| node.clone()),
        }
    }

    /// All masters.
    pub(super) async fn masters(&self) -> Result<BTreeSet<Node>, RedisError> {
        self.node(None).await?;
        Ok(self.map.read().masters())
    }

    /// Whether a node is one of the cluster, as far as is known.
    pub(super) fn has(&self, node: &Node) -> bool {
        let map = self.map.read();
        map.ranges.is_empty() || map.masters().contains(node)
    }

    /// How often what is known was replaced.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// A slot was found elsewhere.
    pub(super) fn moved(&self, slot: Option<Slot>, to: &Node) {
        if let Some(slot) = slot {
            self.map.write().moved.insert(slot, to.clone());
        }
    }

    /// What is known misled us.
    pub(super) fn forget(&self) {
        let mut map = self.map.write();
        map.ranges.clear();
        map.moved.clear();
    }

    async fn ask(&self) -> Result<(), RedisError> {
        let known: Vec<ConnectionInfo> = {
            let map = self.map.read();
            map.known.iter().map(|node| self.info(node)).collect()
        };
        let mut asked: FuturesUnordered<_> = known
            .iter()
            .chain(&self.seeds)
            .map(|info| self.ask_one(info))
            .collect();
        let mut failed = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(map) => {
                    *self.map.write() = map;
                    self.asked.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(e) => failed = Some(e),
            }
        }
        Err(failed.unwrap_or_else(|| RedisError::from(std::io::Error::other("nobody to ask"))))
    }

    async fn ask_one(&self, info: &ConnectionInfo) -> Result<Map, RedisError> {
        let mut connection = self.dial.connect(info, Duration::ZERO).await?;
        let mut cmd = redis::cmd("CLUSTER");
        cmd.arg("SLOTS");
        let answer: Value = cmd.query_async(&mut connection).await?;
        let said_by = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Node::new(host, *port)
            }
            _ => Node::new("", 0),
        };
        let map = Map::read(answer, &said_by);
        if map.ranges.is_empty() {
            let text = format!("{}: no node has a slot yet", info.addr());
            return Err(RedisError::from(std::io::Error::other(text)));
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::SLOTS;
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn row(first: i64, last: i64, nodes: &[(&str, i64)]) -> Value {
        let mut row = vec![Value::Int(first), Value::Int(last)];
        let node = |(host, port): &(&str, i64)| {
            Value::Array(vec![bulk(host), Value::Int(*port), bulk("id")])
        };
        row.extend(nodes.iter().map(node));
        Value::Array(row)
    }

    #[test]
    fn a_map_knows_the_master_of_every_slot() {
        let here = Node::new("here", 1);
        let answer = Value::Array(vec![
            row(0, 8000, &[("a", 7000), ("b", 7001)]),
            row(8001, i64::from(SLOTS) - 1, &[("", 7002)]),
        ]);
        let mut map = Map::read(answer, &here);
        assert_eq!(map.owner(0), Some(&Node::new("a", 7000)));
        assert_eq!(map.owner(8001), Some(&Node::new("here", 7002)));
        assert!(map.known.contains(&Node::new("b", 7001)));
        map.moved.insert(3, Node::new("c", 1));
        assert_eq!(map.owner(3), Some(&Node::new("c", 1)));
        assert_eq!(map.masters().len(), 3);
    }

    #[test]
    fn redirections_are_read() {
        let at = Node::new("here", 1);
        let error = |line: &str| match redis::parse_redis_value(line.as_bytes()).unwrap() {
            Value::ServerError(e) => RedisError::from(e),
            other => panic!("{other:?}"),
        };
        let hop = Hop::of(&error("-MOVED 3999 10.0.0.1:6381\r\n"), &at);
        assert_eq!(hop, Some(Hop::Moved(Node::new("10.0.0.1", 6381))));
        let hop = Hop::of(&error("-ASK 3999 :6382\r\n"), &at);
        assert_eq!(hop, Some(Hop::Ask(Node::new("here", 6382))));
        assert_eq!(Hop::of(&error("-ERR no\r\n"), &at), None);
    }
}
