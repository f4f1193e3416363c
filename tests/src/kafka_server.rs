//! A real Apache Kafka of a test's own, one broker or three: free ports, temporary folder, gone with the value.
//!
//! The jars come from Maven Central, once, into the target folder. Brokers are their own controllers (KRaft); one takes
//! some 2 s to answer and 350 MB. A missing program is a failure that says how to install it; no test is skipped for it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ports::free_port;

mod jars;
mod listeners;
mod metadata;
mod node;

pub use listeners::{PASSWORD, USER};

use node::Node;

/// How long the servers may take to answer, or to go away in order.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// One cluster. It keeps ports and data over restarts, and is killed when dropped.
pub struct KafkaServer {
    nodes: Vec<Node>,
    /// Data, configuration and log of each broker.
    folder: TempDir,
    /// Lines for `server.properties` of each broker.
    options: Vec<String>,
}

impl KafkaServer {
    /// One broker, running.
    pub async fn start() -> Self {
        let mut server = Self::absent(&[]);
        server.run().await;
        server
    }

    /// One broker, running, of all tests of a process that do nothing to it as a whole. It is there while one of them is.
    pub async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<KafkaServer>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&server);
        server
    }

    /// Three brokers, running. Topics are on all of them unless created otherwise, and writes need two.
    pub async fn start_three() -> Self {
        let options = ["default.replication.factor=3", "min.insync.replicas=2"];
        let mut server = Self::place(3, &options);
        server.run().await;
        server
    }

    /// A place for one broker that is not running yet. `options` are lines of `server.properties`.
    pub fn absent(options: &[&str]) -> Self {
        Self::place(1, options)
    }

    fn place(count: usize, options: &[&str]) -> Self {
        Self {
            nodes: (1..=count)
                .map(|id| Node::new(id, free_port(), free_port()))
                .collect(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
        }
    }

    /// Starts what is not running, for the first time or again, and waits until it answers.
    pub async fn run(&mut self) {
        let jars = tokio::task::spawn_blocking(jars::fetched)
            .await
            .expect("the jars");
        let voters: Vec<String> = self.nodes.iter().map(Node::voter).collect();
        let voters = voters.join(",");
        let count = self.nodes.len();
        for node in &mut self.nodes {
            if !node.is_running() {
                let folder = self.folder.path().join(node.id.to_string());
                node.spawn(&jars, folder, &voters, count, &self.options);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        for node in &mut self.nodes {
            node.wait_until_up(count, deadline).await;
        }
    }

    /// Kills them all (SIGKILL) and waits until they are gone.
    pub fn kill(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
    }

    /// Kills one of them, counted from 0.
    pub fn kill_one(&mut self, index: usize) {
        self.nodes[index].kill();
    }

    /// Stops them all in order (SIGTERM).
    pub async fn stop(&mut self) {
        for node in &mut self.nodes {
            node.terminate();
        }
        let deadline = Instant::now() + PATIENCE;
        for node in &mut self.nodes {
            node.wait_until_down(deadline).await;
        }
    }

    /// Kills them and starts them again on the same ports and folders.
    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// What clients are given: `host:port`, more than one separated by commas.
    pub fn bootstrap(&self) -> String {
        let nodes = self.nodes.iter();
        let addresses: Vec<String> = nodes
            .map(|n| format!("127.0.0.1:{}", n.advertised))
            .collect();
        addresses.join(",")
    }

    /// The process of a broker that runs, counted from 0.
    pub fn pid(&self, index: usize) -> u32 {
        self.nodes[index].pid().expect("it runs")
    }

    /// The port the first broker listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.nodes[0].port
    }

    /// Runs one of Kafka's own tools to its end: the class behind a `kafka-….sh`, without `org.apache.kafka.tools.`,
    /// with `--bootstrap-server` given.
    pub async fn try_tool(&self, class: &str, words: &[&str], input: &str) -> Output {
        let mut command = node::java(&jars::fetched());
        command
            .arg(format!("org.apache.kafka.tools.{class}"))
            .args(["--bootstrap-server", &self.bootstrap()])
            .args(words);
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || fed(command, &input))
            .await
            .expect("a tool")
    }

    /// As [`try_tool`](Self::try_tool); answers what it printed.
    pub async fn tool(&self, class: &str, words: &[&str], input: &str) -> String {
        let output = self.try_tool(class, words, input).await;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{class} {words:?}: {}\n{printed}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// Makes a topic.
    pub async fn create_topic(&self, name: &str, partitions: u32) {
        let partitions = partitions.to_string();
        let words = ["--create", "--topic", name, "--partitions", &partitions];
        self.tool("TopicCommand", &words, "").await;
    }

    /// What a group has committed and how much is before it, by partition: `(topic, partition, offset, lag)`. Partitions
    /// without a committed offset are left out.
    pub async fn group(&self, group: &str) -> Vec<(String, i32, i64, i64)> {
        let class = "consumer.group.ConsumerGroupCommand";
        let words = ["--describe", "--group", group];
        let table = self.tool(class, &words, "").await;
        let row = |line: &str| {
            // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
            let mut words = line.split_whitespace().skip(1);
            let topic = words.next()?.to_owned();
            let partition = words.next()?.parse().ok()?;
            let offset = words.next()?.parse().ok()?;
            Some((topic, partition, offset, words.nth(1)?.parse().ok()?))
        };
        table.lines().filter_map(row).collect()
    }

    /// The first segment of a partition, as the first broker has it.
    pub fn segment(&self, topic: &str, partition: u32) -> PathBuf {
        let node = self.folder.path().join(self.nodes[0].id.to_string());
        node.join("data")
            .join(format!("{topic}-{partition}"))
            .join("00000000000000000000.log")
    }

    /// Where the log of a broker is, counted from 0: for people, when a test fails.
    pub fn log(&self, index: usize) -> PathBuf {
        node::log(&self.folder.path().join(self.nodes[index].id.to_string()))
    }
}

/// Runs a program that reads `input`.
fn fed(mut command: Command, input: &str) -> Output {
    use std::io::Write as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a tool of Kafka");
    let mut stdin = child.stdin.take().expect("piped");
    // One that does not read to the end has its reasons; its answer tells.
    let written = stdin.write_all(input.as_bytes());
    drop((written, stdin));
    child.wait_with_output().expect("its output")
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        self.kill();
    }
}
