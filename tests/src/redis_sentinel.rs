//! Real sentinels that watch a server of a test's own.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::certificates::Certificates;
use crate::ports::free_port;

/// How long sentinels may take to find each other, and to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sentinels of one server, killed when dropped.
pub struct Sentinels {
    name: String,
    password: String,
    ports: Vec<u16>,
    secured: Vec<u16>,
    children: Vec<Child>,
    _folders: Vec<TempDir>,
}

impl Sentinels {
    /// `count` sentinels that call the server at `port` by `name` and take over after half a second, most of them agreeing.
    /// They want `password` from everybody.
    ///
    /// # Panics
    ///
    /// When they cannot be started or do not find each other and a replica.
    pub async fn start(count: usize, name: &str, port: u16, password: &str) -> Self {
        Self::start_as(count, name, port, password, None).await
    }

    /// The same; they speak TLS with the server, which does so at `port`, with each other, and at a second port with clients.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_secured(
        count: usize,
        name: &str,
        port: u16,
        password: &str,
        certificates: &Certificates,
    ) -> Self {
        Self::start_as(count, name, port, password, Some(certificates)).await
    }

    async fn start_as(
        count: usize,
        name: &str,
        port: u16,
        password: &str,
        certificates: Option<&Certificates>,
    ) -> Self {
        let mut started = Self {
            name: name.to_owned(),
            password: password.to_owned(),
            ports: Vec::new(),
            secured: Vec::new(),
            children: Vec::new(),
            _folders: Vec::new(),
        };
        for _ in 0..count {
            started.run(port, count / 2 + 1, certificates);
        }
        started
            .until("they know each other", |master| {
                let number = |field| number(master, field);
                number("num-slaves") == Some(1)
                    && number("num-other-sentinels") == Some(count - 1)
                    && text(master, "flags").as_deref() == Some("master")
            })
            .await;
        started
    }

    fn run(&mut self, watched: u16, quorum: usize, certificates: Option<&Certificates>) {
        let (port, name, password) = (free_port(), &self.name, &self.password);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("sentinel.conf");
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.path().display()),
            format!("requirepass {password}"),
            format!("sentinel sentinel-pass {password}"),
            format!("sentinel monitor {name} 127.0.0.1 {watched} {quorum}"),
            format!("sentinel down-after-milliseconds {name} 500"),
            format!("sentinel failover-timeout {name} 5000"),
        ];
        if let Some(certificates) = certificates {
            let secured = free_port();
            let more = certificates.for_redis(secured).into_iter();
            lines.extend(more.map(|(name, value)| format!("{name} {value}")));
            self.secured.push(secured);
        }
        std::fs::write(&file, lines.join("\n")).expect("written");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        match child {
            Ok(child) => self.children.push(child),
            Err(e) => panic!("redis-server cannot be started ({e}): apt-get install redis-server"),
        }
        self.ports.push(port);
        self._folders.push(folder);
    }

    /// Their addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let ports = self.ports.iter();
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Where they speak TLS.
    #[must_use]
    pub fn secured_addresses(&self) -> Vec<String> {
        let ports = self.secured.iter();
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The port of the server that is the master, in the eyes of the first sentinel.
    pub async fn master(&self) -> Option<u16> {
        let answer = self
            .ask(self.ports[0], "GET-MASTER-ADDR-BY-NAME")
            .await
            .ok()?;
        let Value::Array(items) = answer else {
            return None;
        };
        match items.get(1)? {
            Value::BulkString(port) => String::from_utf8_lossy(port).parse().ok(),
            _ => None,
        }
    }

    /// Asks for a fail-over while the master is alive.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn fail_over(&self) {
        self.ask(self.ports[0], "FAILOVER").await.expect("begun");
    }

    async fn ask(&self, port: u16, verb: &str) -> Result<Value, redis::RedisError> {
        let url = format!("redis://:{}@127.0.0.1:{port}", self.password);
        let mut connection = redis::Client::open(url)?
            .get_multiplexed_async_connection()
            .await?;
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg(verb).arg(&self.name);
        cmd.query_async(&mut connection).await
    }

    /// Waits until what every sentinel knows of the master is so.
    async fn until(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        for port in &self.ports {
            loop {
                assert!(Instant::now() < deadline, "never: {what}");
                if let Ok(Value::Array(master)) = self.ask(*port, "MASTER").await
                    && is_so(&master)
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn text(fields: &[Value], name: &str) -> Option<String> {
    let plain = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let mut pairs = fields.chunks(2);
    pairs
        .find(|pair| plain(&pair[0]) == name)
        .and_then(|pair| pair.get(1))
        .map(plain)
}

fn number(fields: &[Value], name: &str) -> Option<usize> {
    text(fields, name)?.parse().ok()
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _gone = child.kill().and_then(|()| child.wait());
        }
    }
}
