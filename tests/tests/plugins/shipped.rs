//! A folder of `plugins/`, its README's configuration in a place of the test's, and the commands beside the host.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use wharf_tests::host::{Place, eventually, program};

/// Longest a test waits for work to be done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One shipped component.
pub(crate) struct Shipped {
    folder: PathBuf,
    pub(crate) place: Place,
    /// The plugin of the configuration.
    plugin: String,
    /// Its subscription, as commands take it.
    subscription: String,
}

impl Shipped {
    /// With the configuration of its README.
    pub(crate) fn new(name: &str) -> Self {
        Self::changed(name, |config| config.to_owned())
    }

    /// With that configuration, changed.
    pub(crate) fn changed(name: &str, change: impl FnOnce(&str) -> String) -> Self {
        let folder = Path::new("../plugins").canonicalize().unwrap().join(name);
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let config = change(block(&readme, "yaml"));
        let (plugin, subscription) = names(&config);
        let place = Place::new();
        place.put(name, &format!("{name}.wasm"));
        let shipped = Self {
            folder,
            place,
            subscription: format!("{plugin}/{subscription}"),
            plugin,
        };
        shipped.configure(&config);
        shipped
    }

    /// Writes another configuration. What the README leaves to its defaults and tests cannot share is added.
    pub(crate) fn configure(&self, config: &str) {
        let rest = config.strip_prefix("version: 1\n");
        self.place.configure(rest.expect("a whole configuration"));
    }

    pub(crate) fn name(&self) -> &str {
        &self.plugin
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The first block of that language in its README.
    pub(crate) fn readme(&self, language: &str) -> String {
        let readme = std::fs::read_to_string(self.file("README.md")).unwrap();
        block(&readme, language).to_owned()
    }

    /// The lines of `messages.jsonl`.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file("messages.jsonl")).unwrap();
        lines(&text)
    }

    /// Runs a command to its end, which must be a good one. Answers what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let done = Command::new(program())
            .args(arguments)
            .current_dir(self.place.path("."))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&done.stdout);
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {out}\n{err}");
        out.into_owned()
    }

    /// What lies in a topic or stream, oldest first, without position and times.
    pub(crate) fn lying(&self, broker: &str, topic: &str) -> Vec<Value> {
        let text = self.run(&["tail", broker, topic, "--from-start", "--json"]);
        let mut lying = lines(&text);
        for message in &mut lying {
            let message = message.as_object_mut().unwrap();
            message.remove("position").unwrap();
            message.remove("published").unwrap();
        }
        lying
    }

    /// The dead letters.
    pub(crate) fn dead(&self) -> Vec<Value> {
        lines(&self.run(&["dlq", "show", &self.subscription, "--json"]))
    }

    /// Publishes its messages to a host, waits until each was handled, and stops the host, which must end well.
    /// Answers the lines of its log.
    pub(crate) async fn handle_all(&self) -> Vec<Value> {
        let mut host = self.place.run().await;
        let messages = self.file("messages.jsonl");
        let messages = messages.to_str().unwrap();
        self.run(&["publish", "--to", &self.subscription, "--file", messages]);
        let wanted = self.messages().len() as f64;
        eventually("all were handled", PATIENCE, async || {
            let runs = "messaging_process_duration_seconds_count";
            (host.metric(runs, &[]).await? >= wanted).then_some(())
        })
        .await;
        host.signal("TERM");
        let status = host.exit(PATIENCE).await;
        assert!(status.success(), "{status}: {}", host.said());
        host.lines()
    }
}

/// The first block of code in a page.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let fence = format!("```{language}\n");
    let (_, rest) = page.split_once(&fence).expect("a block of code");
    rest.split_once("```").expect("an end of the block").0
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The first plugin of a configuration and its first subscription, by the indentation READMEs have.
fn names(config: &str) -> (String, String) {
    let below = |key: &str, indent: &str| {
        let mut lines = config.lines().skip_while(|line| *line != key).skip(1);
        let line = lines.next().expect("something below a key");
        let name = line.strip_prefix(indent).and_then(|l| l.split_once(':'));
        name.expect("a name").0.to_owned()
    };
    (below("plugins:", "  "), below("    subscribe:", "      "))
}

/// What a message of `messages.jsonl` becomes at a broker, as [`Shipped::lying`] shows it.
pub(crate) fn outputs(messages: &[Value]) -> Vec<Value> {
    let accepted = messages
        .iter()
        .filter_map(|m| m["expect"]["accept"].as_array());
    let mut outputs: Vec<Value> = accepted.flatten().cloned().collect();
    for output in &mut outputs {
        output
            .as_object_mut()
            .unwrap()
            .remove("destination")
            .unwrap();
    }
    outputs
}

/// In the order of their ids.
pub(crate) fn sorted(mut messages: Vec<Value>) -> Vec<Value> {
    messages.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
    messages
}
