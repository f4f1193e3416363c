//! Nothing that is secret is ever shown, however broken the file is that it stands in.

use std::path::Path;

use wharf::config;

/// Every place for a secret holds this, and so does a value under a misspelt key.
const SECRET: &str = "hunter2";

const FILE: &str = r#"
version: 1
brokers:
  local: { type: embedded, path: wharf.db }
  cache: { type: redis, url: "redis://user:hunter2@127.0.0.1:6379/0" }
  block:
    type: redis
    url: >-
      redis://user:hunter2@127.0.0.1:6379/1
    lease: 5s
plugins:
  audit:
    component: handler.wat
    subscribe: { events: { broker: local, topic: user.events } }
    grants:
      config: { greeting: hello }
      secrets: { token: hunter2, other: "hunter2" }
admin: { listen: "127.0.0.1:9091", token: 'hunter2' }
"#;

/// Loads a text and returns all that a person or a script would see.
fn shown(folder: &Path, text: &str) -> String {
    let path = folder.join("wharf.yaml");
    std::fs::write(&path, text).unwrap();
    match config::load(&path, &|_| None) {
        Ok(loaded) => {
            let config = serde_json::to_string(&loaded.config).unwrap();
            format!("{:?}\n{config}\n{:?}", loaded.config, loaded.warnings)
        }
        Err(report) => {
            let json = serde_json::to_string(&report).unwrap();
            format!("{}\n{json}\n{report:?}", report.render(true))
        }
    }
}

fn assert_hidden(folder: &Path, text: &str) {
    let shown = shown(folder, text);
    assert!(
        !shown.contains(SECRET),
        "a secret of\n{text}\nis shown in\n{shown}"
    );
}

#[test]
fn a_sound_file_shows_none() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("handler.wat"), "(component)").unwrap();
    let text = shown(folder.path(), FILE);
    assert!(
        text.contains("[redacted]") && text.contains("user.events"),
        "{text}"
    );
    assert!(!text.contains(SECRET), "{text}");
}

#[test]
fn no_broken_file_shows_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("handler.wat"), "(component)").unwrap();
    let lines: Vec<&str> = FILE.lines().collect();
    for at in 0..lines.len() {
        let with = |line: &[&str]| [&lines[..at], line, &lines[at + 1..]].concat().join("\n");
        assert_hidden(folder.path(), &with(&[]));
        assert_hidden(folder.path(), &with(&[lines[at], lines[at]]));
        assert_hidden(folder.path(), &with(&[&format!(" {}", lines[at])]));
        assert_hidden(folder.path(), &with(&[&format!("{} }}", lines[at])]));
    }
    let places = FILE.char_indices().filter(|(at, _)| {
        // A change within the word itself makes it another word.
        !FILE
            .match_indices(SECRET)
            .any(|(start, _)| (start..start + SECRET.len()).contains(at))
    });
    for (at, c) in places {
        let (before, after) = (&FILE[..at], &FILE[at + c.len_utf8()..]);
        assert_hidden(folder.path(), &format!("{before}{after}"));
        // The rest only near a secret: it takes a while.
        let line = before.rsplit('\n').next().unwrap_or_default().to_owned()
            + after.lines().next().unwrap_or_default();
        for other in ["x", "{", "\"", "\n", ": ", "#", "${"] {
            if line.contains(SECRET) {
                assert_hidden(folder.path(), &format!("{before}{other}{after}"));
            }
        }
    }
}

#[test]
fn what_a_variable_or_a_file_holds_is_not_shown_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wharf.yaml");
    std::fs::write(folder.path().join("secret"), "hunter2\n").unwrap();
    let text = "version: 1\n\
        brokers: { cache: { type: redis, url: \"${V}\", lease: \"${V}\", prefetch: \"${V}\", name: \"${V}\", x: \"${V}\" } }\n\
        plugins: { audit: { component: handler.wat, order: \"${V}\", subscribe: { a: { broker: \"${V}\" } }, limits: { memory: \"${V}\" } } }\n\
        admin: { listen: \"${V}\", token: { file: secret } }\n\
        log: { level: \"${V}=hunter2=\" }\n"
        .replace("=hunter2=", "=x=");
    std::fs::write(&path, text).unwrap();
    let report = config::load(&path, &|_| Some(SECRET.to_owned())).unwrap_err();
    let shown = format!(
        "{}\n{report:?}\n{}",
        report.render(false),
        serde_json::to_string(&report).unwrap()
    );
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(report.diagnostics.len() >= 6, "{shown}");
}
