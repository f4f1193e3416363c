//! A folder with a configuration in it, the program, and what it printed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wharf_tests::guests::target;

/// The program, as it was built beside this test.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("wharf");
    assert!(
        program.exists(),
        "{} is missing: run `cargo build -p wharf`",
        program.display()
    );
    program
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    folder: PathBuf,
}

impl Printed {
    /// Every line of standard output as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// Compares all of it with `cli/<name>.txt`.
    pub(crate) fn matches(&self, name: &str) {
        let mut text = format!("exit {}\n", self.code);
        for (label, part) in [("stdout", &self.out), ("stderr", &self.err)] {
            if !part.is_empty() {
                text.push_str(&format!("--- {label}\n{part}"));
            }
        }
        let got = normal(&text.replace(self.folder.to_str().unwrap(), "[folder]"));
        let file = Path::new("cli").join(format!("{name}.txt"));
        let want = std::fs::read_to_string(&file).unwrap_or_default();
        if want == got {
            return;
        }
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
            std::fs::create_dir_all("cli").unwrap();
            std::fs::write(&file, got).unwrap();
            return;
        }
        panic!(
            "{} differs; UPDATE_SNAPSHOTS=1 accepts this:\n{got}",
            file.display()
        );
    }

    /// Fails where the command did.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

/// The text without what differs from run to run.
fn normal(text: &str) -> String {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
    let mut normal = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if part_of_word(c) {
            word.push(c);
            continue;
        }
        normal.push_str(&normal_word(&word));
        word.clear();
        normal.push(c);
    }
    normal.pop();
    let lines = normal
        .lines()
        .map(|line| match (line.find(" in "), line.find("/s)")) {
            // How long publishing took.
            (Some(from), Some(to)) if from < to => {
                format!("{} [took]{}", &line[..from], &line[to + 3..])
            }
            _ => line.to_owned(),
        });
    lines.map(|line| line + "\n").collect()
}

fn normal_word(word: &str) -> String {
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    let digest = word.strip_prefix("sha256:");
    if digest.is_some_and(|digest| digest.len() == 64 && hex(digest)) {
        return "[digest]".to_owned();
    }
    let is_time = word.len() == 24 && word.as_bytes()[10] == b'T' && word.ends_with('Z');
    let is_id = word.len() == 36 && word.matches('-').count() == 4 && hex(&word.replace('-', ""));
    match (is_time, is_id) {
        (true, _) => "[time]".to_owned(),
        (_, true) => "[id]".to_owned(),
        _ => word.to_owned(),
    }
}

/// A folder of its own.
pub(crate) struct World {
    folder: TempDir,
}

/// Two subscriptions of one plugin on an embedded file, dead letters at their default places.
pub(crate) const CONFIG: &str = "\
version: 1
brokers:
  events: { type: embedded, path: events.db }
plugins:
  orders:
    component: handler.wasm
    subscribe:
      incoming: { broker: events, topic: orders }
      late: { broker: events, topic: orders.late }
    publish:
      out: { broker: events, topic: priced }
    retry: { max_retries: 0 }
telemetry: { listen: null }
host: { cache: code }
";

impl World {
    /// With [`CONFIG`] and a file that stands for the component.
    pub(crate) fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        world.write("wharf.yaml", CONFIG);
        world.write("handler.wasm", "");
        world
    }

    /// With the guest of that name as the component.
    pub(crate) fn with_guest(name: &str) -> Self {
        let world = Self::new();
        std::fs::copy(wharf_tests::guests::guest(name), world.path("handler.wasm")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The program with these arguments, in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("XDG_CACHE_HOME", target().join("tmp/cli-cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Printed {
        self.finish(self.command(arguments).spawn().unwrap())
    }

    /// As `run`, with this on standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Printed {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        self.finish(child)
    }

    pub(crate) fn finish(&self, child: Child) -> Printed {
        let done = child.wait_with_output().unwrap();
        Printed {
            code: done.status.code().unwrap_or(-1),
            out: String::from_utf8(done.stdout).unwrap(),
            err: String::from_utf8(done.stderr).unwrap(),
            folder: self.folder.path().to_owned(),
        }
    }
}
