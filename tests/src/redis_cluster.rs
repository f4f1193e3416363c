//! A real Redis Cluster of a test's own, on free ports.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::certificates::Certificates;
use crate::ports::free_port;

/// How long the nodes may take to agree.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    port: u16,
    secured: Option<u16>,
    child: Option<Child>,
    _folder: TempDir,
}

/// Masters with a replica each, killed when dropped.
pub struct RedisCluster {
    nodes: Vec<Node>,
}

impl RedisCluster {
    /// Three masters, each with a replica; a master is missed after a second.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn start() -> Self {
        Self::start_of((0..6).map(|_| run(None)).collect()).await
    }

    /// The same; the nodes speak TLS with each other, and at a second port with clients.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn start_secured(certificates: &Certificates) -> Self {
        Self::start_of((0..6).map(|_| run(Some(certificates))).collect()).await
    }

    async fn start_of(nodes: Vec<Node>) -> Self {
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            cluster
                .until("a node answers", || async {
                    ask(node.port, "PING").await.is_ok()
                })
                .await;
        }
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(cluster.addresses())
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli, which comes with redis-server");
        let said = String::from_utf8_lossy(&made.stdout);
        assert!(made.status.success(), "not made: {said}");
        for node in &cluster.nodes {
            cluster
                .until("it is a cluster", || async { is_well(node.port).await })
                .await;
        }
        cluster
    }

    /// Where the nodes are.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let ports = self.nodes.iter().map(|node| node.port);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Where the nodes speak TLS.
    #[must_use]
    pub fn secured_addresses(&self) -> Vec<String> {
        let ports = self.nodes.iter().filter_map(|node| node.secured);
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The port of the master that has the slot of a key, as a living node sees it.
    pub async fn owner(&self, key: &str) -> Option<u16> {
        for node in self.nodes.iter().filter(|node| node.child.is_some()) {
            let Ok(Value::Int(slot)) = ask(node.port, &format!("CLUSTER KEYSLOT {key}")).await
            else {
                continue;
            };
            let Ok(Value::Array(rows)) = ask(node.port, "CLUSTER SLOTS").await else {
                continue;
            };
            return rows.iter().find_map(|row| owner(row, slot));
        }
        None
    }

    /// A client of the node that has a key. Nothing is redirected.
    ///
    /// # Panics
    ///
    /// When nobody has it.
    pub async fn client(&self, key: &str) -> MultiplexedConnection {
        let port = self.owner(key).await.expect("somebody has the key");
        client(port).await.expect("connected")
    }

    /// Kills the node at this port (SIGKILL) and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn kill(&mut self, port: u16) {
        let mut nodes = self.nodes.iter_mut();
        let node = nodes.find(|node| node.port == port).expect("a node");
        let mut child = node.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// Gives the slot of `key` with all that is in it to the master at `to`. Between the two steps the key is on its way:
    /// `meanwhile` runs when the key has left and the slot has not.
    ///
    /// # Panics
    ///
    /// When a node refuses.
    pub async fn migrate<F: Future<Output = ()>>(&self, key: &str, to: u16, meanwhile: F) {
        let from = self.owner(key).await.expect("somebody has the key");
        let slot = match ask(from, &format!("CLUSTER KEYSLOT {key}")).await {
            Ok(Value::Int(slot)) => slot,
            other => panic!("no slot: {other:?}"),
        };
        let (from_id, to_id) = (id(from).await, id(to).await);
        let told = async |port: u16, words: String| {
            ask(port, &words)
                .await
                .unwrap_or_else(|e| panic!("{words}: {e}"))
        };
        told(to, format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")).await;
        told(from, format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")).await;
        loop {
            let keys = told(from, format!("CLUSTER GETKEYSINSLOT {slot} 100")).await;
            let Value::Array(keys) = keys else { break };
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let Value::BulkString(key) = key else {
                    continue;
                };
                let key = String::from_utf8(key).expect("a name");
                told(from, format!("MIGRATE 127.0.0.1 {to} {key} 0 5000")).await;
            }
        }
        meanwhile.await;
        for port in [to, from] {
            told(port, format!("CLUSTER SETSLOT {slot} NODE {to_id}")).await;
        }
    }

    /// The ports of the masters.
    pub async fn masters(&self) -> Vec<u16> {
        let mut masters = Vec::new();
        for node in self.nodes.iter().filter(|node| node.child.is_some()) {
            if let Ok(Value::Array(role)) = ask(node.port, "ROLE").await
                && role.first() == Some(&Value::BulkString(b"master".to_vec()))
            {
                masters.push(node.port);
            }
        }
        masters
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A port whose cluster port, 10000 above, is free as well.
fn port() -> u16 {
    loop {
        let port = free_port();
        let bus = port.checked_add(10_000);
        if bus.is_some_and(|bus| std::net::TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}

fn run(certificates: Option<&Certificates>) -> Node {
    let (port, folder) = (port(), tempfile::tempdir().expect("a temporary folder"));
    let secured = certificates.map(|_| free_port());
    let mut command = Command::new("redis-server");
    if let (Some(certificates), Some(secured)) = (certificates, secured) {
        for (name, value) in certificates.for_redis(secured) {
            command.arg(format!("--{name}")).arg(value);
        }
        // Where the nodes talk is told by the port without TLS.
        let bus = (port + 10_000).to_string();
        command.args(["--tls-cluster", "yes", "--cluster-port", &bus]);
    }
    let child = command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"])
        .args(["--save", "", "--repl-diskless-sync-delay", "0", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn();
    match child {
        Ok(child) => Node {
            port,
            secured,
            child: Some(child),
            _folder: folder,
        },
        Err(e) => panic!("redis-server cannot be started ({e}): apt-get install redis-server"),
    }
}

async fn client(port: u16) -> Result<MultiplexedConnection, redis::RedisError> {
    redis::Client::open(format!("redis://127.0.0.1:{port}"))?
        .get_multiplexed_async_connection()
        .await
}

async fn ask(port: u16, words: &str) -> Result<Value, redis::RedisError> {
    let mut words = words.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        cmd.arg(word);
    }
    cmd.query_async(&mut client(port).await?).await
}

async fn id(port: u16) -> String {
    match ask(port, "CLUSTER MYID").await {
        Ok(Value::BulkString(id)) => String::from_utf8(id).expect("a name"),
        other => panic!("no id: {other:?}"),
    }
}

/// All slots are served, and the replica of a master has caught up with it.
async fn is_well(port: u16) -> bool {
    let text = async |words: &str| match ask(port, words).await {
        Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
        _ => String::new(),
    };
    let replication = text("INFO replication").await;
    text("CLUSTER INFO").await.contains("cluster_state:ok")
        && (replication.contains("master_link_status:up") || replication.contains("state=online"))
}

fn owner(row: &Value, slot: i64) -> Option<u16> {
    let Value::Array(row) = row else { return None };
    let (Value::Int(first), Value::Int(last), Value::Array(master)) = (&row[0], &row[1], &row[2])
    else {
        return None;
    };
    match master.get(1) {
        Some(Value::Int(port)) if (*first..=*last).contains(&slot) => u16::try_from(*port).ok(),
        _ => None,
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            // It may have ended by itself.
            let _gone = child.kill().and_then(|()| child.wait());
        }
    }
}
