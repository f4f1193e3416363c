//! A real `redis-server` of a test's own: free port, temporary folder, gone with the value.
//!
//! A missing program is a failure that says how to install it; no test is skipped for it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::ports::free_port;

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
        let mut server = Self::absent_durable();
        server.run().await;
        server
    }

    /// A place for a server that keeps what it has answered over [`kill`](Self::kill), as the kernel has it by then. With
    /// `everysec`, which is the default, it does not always: it writes nothing while what it wrote before is on its way to the
    /// disk, up to 2 s on a busy one, and answers all the same.
    pub fn absent_durable() -> Self {
        Self::absent(&["--appendonly", "yes", "--appendfsync", "no"])
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
            let answer = self.process().await;
            let child = self.child.as_mut().expect("it was started");
            if let Ok(Some(status)) = child.try_wait() {
                panic!("redis-server ended at once: {status}");
            }
            match answer {
                Ok(None) => return,
                Ok(Some(process)) if process == child.id() => return,
                Ok(_) => panic!("another server answers at its port"),
                Err(e) if Instant::now() > deadline => panic!("redis-server does not answer: {e}"),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The process that answers at its port. `None`: it wants a password before it says.
    async fn process(&self) -> Result<Option<u32>, redis::RedisError> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut info = redis::cmd("INFO");
        let said: Result<String, _> = info.arg("server").query_async(&mut connection).await;
        match said {
            Err(e) if e.code() == Some("NOAUTH") => Ok(None),
            Err(e) => Err(e),
            Ok(said) => {
                // One that still loads its data says who it is, and no more.
                let _pong: redis::Value = redis::cmd("PING").query_async(&mut connection).await?;
                let process = said.lines().find_map(|l| l.strip_prefix("process_id:"));
                Ok(Some(process.and_then(|p| p.parse().ok()).unwrap_or(0)))
            }
        }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Asks it to end (SIGTERM), so that it keeps what it has, and waits until it is gone.
    pub async fn stop(&mut self) {
        let child = self.child.as_mut().expect("it is running");
        let told = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        assert!(told.expect("kill").success(), "SIGTERM was not sent");
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < deadline, "redis-server does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = None;
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
