//! A real `nats-server` of a test's own, with JetStream: free port, temporary folder, gone with the value.
//!
//! It answers within some 100 ms. The program is fetched by the first test that wants it; `WHARF_NATS_SERVER` names another
//! one, to hold another version.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};
use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::ports::free_port;

mod program;

/// How long a server may take to answer, or to go away.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// One server. It keeps port and data over restarts, and is killed when dropped.
pub struct NatsServer {
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

/// What a consumer has before it, as the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Not delivered.
    pub waiting: u64,
    /// Delivered and not acknowledged.
    pub pending: u64,
    /// Of those, how many were delivered more than once.
    pub redelivered: u64,
}

impl NatsServer {
    /// A running server.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with more in its configuration: blocks as in `nats-server.conf`.
    pub async fn start_with(config: &str) -> Self {
        let mut server = Self::absent(config);
        server.run().await;
        server
    }

    /// A place for a server that is not running yet.
    pub fn absent(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let store = folder.path().join("store");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?} }}\n{config}\n"
        );
        std::fs::write(folder.path().join("conf"), text).expect("written");
        Self {
            port,
            folder,
            child: None,
        }
    }

    /// Starts it, for the first time or again, and waits until it answers.
    pub async fn run(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let child = Command::new(program::program())
            .arg("-c")
            .arg(self.folder.path().join("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        match child {
            Ok(child) => self.child = Some(child),
            Err(e) => panic!("nats-server cannot be started: {e}"),
        }
        let deadline = Instant::now() + PATIENCE;
        // It says so when it is ready for clients; whom it lets in is another matter.
        while !self.logged().contains("Server is ready") {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("nats-server ended at once: {status}\n{}", self.logged());
            }
            assert!(
                Instant::now() < deadline,
                "nats-server does not answer\n{}",
                self.logged()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Its log: for people, when a test fails.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Kills it and starts it again on the same port and folder.
    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// What it has written down so far, kept beside. It must not be running.
    pub fn remember(&self) {
        self.copy_store("store", "remembered");
    }

    /// Goes back to what was remembered: everything since then is forgotten. It must not be running.
    pub fn forget(&self) {
        self.copy_store("remembered", "store");
    }

    fn copy_store(&self, from: &str, to: &str) {
        assert!(self.child.is_none(), "it is running");
        let (from, to) = (self.folder.path().join(from), self.folder.path().join(to));
        drop(std::fs::remove_dir_all(&to));
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(copied.expect("cp").success());
    }

    /// Its address, without credentials.
    pub fn url(&self) -> String {
        Self::url_by(self.port)
    }

    /// The same, for another port: that of a proxy.
    pub fn url_by(port: u16) -> String {
        format!("nats://127.0.0.1:{port}")
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client of the test's own.
    pub async fn client(&self) -> Client {
        ConnectOptions::new()
            .connect(self.url())
            .await
            .unwrap_or_else(|e| panic!("no connection: {e}\n{}", self.logged()))
    }

    /// JetStream, by a client of the test's own.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }

    /// Makes a stream of these subjects.
    pub async fn stream(&self, name: &str, subjects: &[&str]) {
        self.stream_with(stream::Config {
            name: name.to_owned(),
            subjects: subjects.iter().map(|&s| s.to_owned()).collect(),
            ..stream::Config::default()
        })
        .await;
    }

    /// Makes a stream.
    pub async fn stream_with(&self, config: stream::Config) {
        let name = config.name.clone();
        let made = self.jetstream().await.create_stream(config).await;
        made.unwrap_or_else(|e| panic!("stream {name}: {e}"));
    }

    /// Deletes a stream.
    pub async fn delete(&self, name: &str) {
        let deleted = self.jetstream().await.delete_stream(name).await;
        deleted.unwrap_or_else(|e| panic!("stream {name}: {e}"));
    }

    /// Publishes to a stream, confirmed.
    pub async fn publish(&self, subject: &str, payload: &str) {
        self.publish_with(subject, HeaderMap::new(), payload.to_owned().into())
            .await;
    }

    /// Publishes to a stream with headers, confirmed.
    pub async fn publish_with(&self, subject: &str, headers: HeaderMap, payload: Bytes) {
        let (to, context) = (subject.to_owned(), self.jetstream().await);
        let published = context.publish_with_headers(to, headers, payload).await;
        let confirmed = published.expect("published").await;
        confirmed.unwrap_or_else(|e| panic!("{subject}: {e}"));
    }

    /// What a consumer has before it; `None` where there is none.
    pub async fn depth(&self, stream: &str, consumer: &str) -> Option<Depth> {
        let context = self.jetstream().await;
        let stream = context.get_stream_no_info(stream).await.ok()?;
        let info = stream.consumer_info(consumer).await.ok()?;
        Some(Depth {
            waiting: info.num_pending,
            pending: info.num_ack_pending as u64,
            redelivered: info.num_redelivered as u64,
        })
    }

    /// How many messages a stream holds; `None` where there is none.
    pub async fn held(&self, stream: &str) -> Option<u64> {
        let context = self.jetstream().await;
        let stream = context.get_stream(stream).await.ok()?;
        Some(stream.cached_info().state.messages)
    }

    /// Every message a stream holds, in its order.
    pub async fn messages(&self, stream: &str) -> Vec<async_nats::Message> {
        use futures_util::StreamExt as _;
        let Some(held) = self.held(stream).await else {
            return Vec::new();
        };
        let context = self.jetstream().await;
        let stream = context.get_stream(stream).await.expect("a stream");
        let config = consumer::pull::Config {
            ack_policy: consumer::AckPolicy::None,
            ..consumer::pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let batch = consumer.fetch().max_messages(held as usize).messages();
        let read = batch.await.expect("a batch");
        let all = read.map(|m| m.expect("a message").message).collect().await;
        let name = &consumer.cached_info().name;
        stream.delete_consumer(name).await.expect("deleted");
        all
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
