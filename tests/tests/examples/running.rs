//! An example's host, and the commands beside it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::guests::{guest, target};

/// An example in a folder of its own for what it writes.
pub(crate) struct Example {
    folder: PathBuf,
    data: TempDir,
    component: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// A host that is stopped, whatever becomes of the test.
pub(crate) struct Running {
    child: Child,
    /// Reads the log to its end, or the pipe would fill up.
    log: Option<JoinHandle<Vec<String>>>,
}

impl Example {
    /// `examples/<name>` with the guest of that name.
    pub(crate) fn new(name: &str, component: &str) -> Self {
        Self {
            folder: Path::new("../examples").canonicalize().unwrap().join(name),
            data: tempfile::tempdir().unwrap(),
            component: guest(component),
            variables: Vec::new(),
        }
    }

    /// With a variable for its configuration.
    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.variables.push((name, value));
        self
    }

    /// The text of one of its files.
    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// The lines of `expected.txt`, sorted.
    pub(crate) fn expected(&self) -> Vec<String> {
        sorted(self.file("expected.txt").lines().map(str::to_owned))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("wharf");
        assert!(
            program.exists(),
            "{} is missing: run `make test`",
            program.display()
        );
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("XDG_CACHE_HOME", target().join("tmp/examples-cache"))
            .env("EXAMPLE_DATA", self.data.path())
            .env("EXAMPLE_COMPONENT", &self.component)
            .env("EXAMPLE_TELEMETRY", "127.0.0.1:0")
            .env("ORDERS_DATA", self.data.path())
            .env("ORDERS_COMPONENT", &self.component)
            .env("ORDERS_TELEMETRY", "127.0.0.1:0")
            .envs(self.variables.iter().map(|(n, v)| (*n, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, which must be a good one. Answers what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let done = self.command(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:#?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// The same, every line read as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(arguments);
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What lies in a topic or stream, oldest first.
    pub(crate) fn lying(&self, broker: &str, topic: &str) -> Vec<Value> {
        self.json(&["tail", broker, topic, "--from-start", "--json"])
    }

    /// Starts the host.
    pub(crate) fn start(&self) -> Running {
        let mut child = self.command(&["run"]).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let log = std::thread::spawn(move || lines.collect());
        Running {
            child,
            log: Some(log),
        }
    }
}

impl Running {
    /// Asks it to stop, and holds it to ending well.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(asked.success());
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(status.success(), "{status}: {log:#?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill().is_ok();
        let _reaped = self.child.wait().is_ok();
    }
}

/// In an order that does not depend on what was handled first.
pub(crate) fn sorted(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.into_iter().collect();
    lines.sort();
    lines
}

/// The payload of a line of `tail --json` as text.
pub(crate) fn payload(line: &Value) -> String {
    match (&line["payload_text"], &line["payload"]) {
        (Value::String(text), _) | (_, Value::String(text)) => text.clone(),
        (_, payload) => payload.to_string(),
    }
}
