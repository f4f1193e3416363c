//! The real `wharf` program as a child of a test: its configuration, its signals, its log, and what it serves.
//!
//! The log goes to a file beside the configuration, so that a child is never stopped by a full pipe and what a killed
//! one said can be read. A child ends with its value.

use std::fmt::Debug;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::guests::{guest, target};

/// Longest a test waits for work to be done.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a host may take to start; its components may have to be compiled.
const START: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// The program, as it was built beside the tests.
///
/// # Panics
///
/// When it was not built.
#[must_use]
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("target/debug/deps/test");
    let program = folder.join("wharf");
    assert!(
        program.exists(),
        "{} is missing: run `cargo build --workspace --bins --tests`",
        program.display()
    );
    program
}

/// Looks until `look` answers.
///
/// # Panics
///
/// When it did not within `limit`; `what` says what was waited for.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    eventually_or(what, limit, async || look().await.ok_or("nothing")).await
}

/// Looks until what `look` finds is right.
///
/// # Panics
///
/// When it was not within `limit`; says what was waited for and what was found last.
pub async fn eventually_or<T, F: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, F>,
) -> T {
    let end = Instant::now() + limit;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(found) => assert!(
                Instant::now() < end,
                "{what}: not within {limit:?}, found: {found:?}"
            ),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A folder with a configuration, components and an embedded file, for one host after the other.
pub struct Place {
    folder: TempDir,
    /// Names the logs.
    runs: AtomicU32,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// When there is no room for a folder.
    #[must_use]
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            runs: AtomicU32::new(0),
        }
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts the guest there as `file`, by a rename: a host that looks never sees half of it.
    ///
    /// # Panics
    ///
    /// When it was not built or cannot be copied.
    pub fn put(&self, name: &str, file: &str) {
        let next = self.path(&format!(".next-{file}"));
        std::fs::copy(guest(name), &next).expect("copied");
        std::fs::rename(&next, self.path(file)).expect("renamed");
    }

    /// Writes `wharf.yaml`: JSON logs, telemetry on a free port, the code store all tests share, ten seconds to drain,
    /// and `rest`, which has brokers and plugins.
    pub fn configure(&self, rest: &str) {
        self.configure_drain("10s", rest);
    }

    /// The same with another `drain_timeout`.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn configure_drain(&self, drain: &str, rest: &str) {
        let cache = target().join("tmp/code");
        let text = format!(
            "version: 1\nhost: {{ cache: {cache:?}, drain_timeout: {drain} }}\n\
             telemetry: {{ listen: \"127.0.0.1:0\" }}\nlog: {{ format: json, level: info }}\n{rest}"
        );
        std::fs::write(self.path("wharf.yaml"), text).expect("written");
    }

    /// Starts a host on `wharf.yaml` and does not wait for anything.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn(&self) -> Host {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let log = self.path(&format!("log-{run}.jsonl"));
        let child = Command::new(program())
            .args(["run", "--config"])
            .arg(self.path("wharf.yaml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("started");
        Host {
            child,
            log,
            telemetry: None,
            admin: None,
        }
    }

    /// Starts a host and waits until it says so.
    pub async fn run(&self) -> Host {
        let mut host = self.spawn();
        host.started().await;
        host
    }

    /// Runs another command of the program on `wharf.yaml`. Answers its exit code and all it printed.
    ///
    /// # Panics
    ///
    /// When the program cannot be started.
    #[must_use]
    pub fn try_wharf(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(program())
            .args(words)
            .arg("--config")
            .arg(self.path("wharf.yaml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .expect("started");
        let printed = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&printed).into_owned(),
        )
    }

    /// As [`try_wharf`](Self::try_wharf), for a command that must succeed.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[must_use]
    pub fn wharf(&self, words: &[&str]) -> String {
        let (code, said) = self.try_wharf(words);
        assert_eq!(code, Some(0), "wharf {words:?}: {said}");
        said
    }

    /// Runs a host that must end by itself, and answers its exit code and what it said.
    pub async fn refused(&self) -> (Option<i32>, String) {
        let mut host = self.spawn();
        let status = host.exit(START).await;
        (status.code(), host.said())
    }
}

/// A running host. Killed when dropped.
pub struct Host {
    child: Child,
    log: PathBuf,
    telemetry: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Where a host listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// `/metrics` and probes.
    Telemetry,
    /// `/api/v1`, where `admin.listen` is configured.
    Admin,
}

impl Host {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn started(&mut self) {
        let line = self.says("started").await;
        let admin = line["admin"].as_str();
        self.admin = admin.and_then(|address| address.parse().ok());
        assert!(self.telemetry.is_some(), "where telemetry is served");
    }

    /// Waits until it says so, and answers that line of its log.
    ///
    /// # Panics
    ///
    /// When it ends before, or does not say so in time.
    pub async fn says(&mut self, message: &str) -> Value {
        let end = Instant::now() + START;
        loop {
            let lines = self.lines();
            if let Some(line) = lines.iter().find(|l| l["message"] == message) {
                let telemetry = lines.iter().find_map(|l| l["telemetry"].as_str());
                self.telemetry = telemetry.and_then(|address| address.parse().ok());
                return line.clone();
            }
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the host ended: {status}");
            }
            assert!(Instant::now() < end, "not {message:?} within {START:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything it said so far.
    #[must_use]
    pub fn said(&self) -> String {
        read(&self.log)
    }

    /// The lines of its log that are whole.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let said = self.said();
        said.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// What telemetry answers to `GET path`: status and body.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.call(Listener::Telemetry, "GET", path, None).await
    }

    /// What a listener answers to a call, with `token` as its bearer token: status and body.
    ///
    /// # Panics
    ///
    /// When it does not answer, or there is none.
    pub async fn call(
        &self,
        at: Listener,
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> (u16, String) {
        let address = match at {
            Listener::Telemetry => self.telemetry,
            Listener::Admin => self.admin,
        };
        let address = address.expect("a host that is up and listens there");
        let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let bearer = bearer.unwrap_or_default();
        let ask = async {
            let mut stream = TcpStream::connect(address).await?;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: wharf\r\ncontent-length: 0\r\n{bearer}connection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), ask).await;
        let answer = answer.expect("an answer in time").expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// The sum of all lines of `/metrics` that begin with `name` and contain each of `labels`; `None` where there is
    /// no such line.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let (_, text) = self.get("/metrics").await;
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|r| r.starts_with(['{', ' ']))
                && labels.iter().all(|l| line.contains(l))
        });
        let values: Vec<f64> = lines
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// What `/readyz` says, once it says that the host is ready, or that it is not.
    ///
    /// # Panics
    ///
    /// When it never does, or when status and body disagree.
    pub async fn ready(&self, wanted: bool) -> Value {
        let what = if wanted { "ready" } else { "not ready" };
        eventually(what, PATIENCE, async || {
            let (status, body) = self.get("/readyz").await;
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(status, if body["ready"] == true { 200 } else { 503 });
            (body["ready"] == wanted).then_some(body)
        })
        .await
    }

    /// Sends a signal by its name: `TERM`, `HUP`.
    ///
    /// # Panics
    ///
    /// When it is gone.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status();
        assert!(sent.expect("a shell").success(), "SIG{name} was not sent");
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it had ended before: then it was not this that ended it.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("a child");
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
        self.end();
    }

    /// Waits until it ends by itself.
    pub async fn exit(&mut self, limit: Duration) -> ExitStatus {
        eventually("the host ends", limit, async || {
            self.child.try_wait().expect("a child")
        })
        .await
    }

    fn end(&mut self) {
        // Both fail only for a child that is gone.
        let _killed = self.child.kill().is_ok();
        let _gone = self.child.wait().is_ok();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let said = self.said();
            let last = said.lines().rev().take(15).collect::<Vec<_>>();
            for line in last.iter().rev() {
                let end = line.floor_char_boundary(400);
                eprintln!("host: {}", &line[..end]);
            }
        }
    }
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
