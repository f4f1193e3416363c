//! A real `redis-server` of a test's own: free port, temporary folder, gone with the value.
//!
//! A missing program is a failure that says how to install it; no test is skipped for it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::Instant;

/// How long a server may take to answer or to go away.
const PATIENCE: Duration = Duration::from_secs(20);

/// One server. It keeps port and folder over restarts, and is killed when dropped.
pub struct RedisServer {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// A running server without persistence.
    pub async fn start() -> Self {
        let mut server = Self::absent(&[]);
        server.run().await;
        server
    }

    /// A running server with an append-only file, so that it comes back with what it had.
    pub async fn start_durable() -> Self {
        let mut server = Self::absent(&["--appendonly", "yes", "--appendfsync", "always"]);
        server.run().await;
        server
    }

    /// A place for a server that is not running yet. `options` are given to `redis-server` as they are.
    pub fn absent(options: &[&str]) -> Self {
        Self {
            port: free_port(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            child: None,
        }
    }

    /// Starts it, for the first time or again, and waits until it answers.
    pub async fn run(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.folder.path())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        match child {
            Ok(child) => self.child = Some(child),
            Err(e) => panic!("redis-server cannot be started ({e}): apt-get install redis-server"),
        }
        self.wait_until_up().await;
    }

    async fn wait_until_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A password does not matter here: any answer of the server's own will do.
            match self.try_ping().await {
                Ok(()) => return,
                Err(e) if Instant::now() > deadline => panic!("redis-server does not answer: {e}"),
                Err(_) => {}
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("redis-server ended at once: {status}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn try_ping(&self) -> Result<(), redis::RedisError> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        match redis::cmd("PING")
            .query_async::<Value>(&mut connection)
            .await
        {
            Err(e) if e.code() == Some("NOAUTH") => Ok(()),
            Err(e) => Err(e),
            Ok(_) => Ok(()),
        }
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

    /// Its address, without credentials.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The same, for another port: that of a proxy.
    pub fn url_by(port: u16) -> String {
        format!("redis://127.0.0.1:{port}")
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client of the test's own.
    pub async fn client(&self) -> MultiplexedConnection {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        redis::Client::open(self.url())
            .expect("a url")
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .expect("connected")
    }

    /// Carries out one command, words separated by spaces, as in `redis-cli`.
    pub async fn command(&self, words: &str) -> Value {
        self.try_command(words).await.expect("carried out")
    }

    /// As [`command`](Self::command), where an error is expected.
    pub async fn try_command(&self, words: &str) -> Result<Value, redis::RedisError> {
        let mut words = words.split(' ');
        let mut cmd = redis::cmd(words.next().expect("a word"));
        for word in words {
            cmd.arg(word);
        }
        cmd.query_async(&mut self.client().await).await
    }

    /// Empties it.
    pub async fn flush_all(&self) {
        self.command("FLUSHALL").await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port nobody listens on just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port()
}
