//! Which room may know which.

use std::collections::BTreeSet;
use std::path::Path;

use crate::imports::Edge;

/// A room of `host/src` and the rooms it may use.
pub struct Room {
    pub name: &'static str,
    pub may_use: &'static [&'static str],
}

const fn room(name: &'static str, may_use: &'static [&'static str]) -> Room {
    Room { name, may_use }
}

/// From the ground up: whatever a room may use stands above it here, but for `commit` and `delivery`, which are two
/// halves of one thought.
pub const TABLE: &[Room] = &[
    room("message", &[]),
    room("place", &[]),
    room("handler", &["message"]),
    room("delivery", &["message", "commit"]),
    room("commit", &["message", "place", "delivery"]),
    room(
        "ports",
        &["message", "place", "delivery", "handler", "commit"],
    ),
    room("config", &["place"]),
    room("shutdown", &[]),
    room("telemetry", &["message", "delivery", "handler", "commit"]),
    room("broker", ADAPTER),
    room("plugin", ADAPTER),
    room(
        "dispatch",
        &[
            "message",
            "place",
            "delivery",
            "handler",
            "commit",
            "ports",
            "config",
            "telemetry",
        ],
    ),
    room(
        "host",
        &[
            "message",
            "place",
            "delivery",
            "handler",
            "commit",
            "ports",
            "config",
            "shutdown",
            "telemetry",
            "broker",
            "plugin",
            "dispatch",
        ],
    ),
    room("admin", &["ports", "config", "plugin", "dispatch", "host"]),
    room(
        "cli",
        &[
            "message",
            "place",
            "delivery",
            "handler",
            "commit",
            "ports",
            "config",
            "shutdown",
            "telemetry",
            "broker",
            "plugin",
            "host",
            "admin",
        ],
    ),
];

/// What implements the ports: brokers on one side, plugins on the other.
const ADAPTER: &[&str] = &[
    "message",
    "place",
    "delivery",
    "handler",
    "commit",
    "ports",
    "config",
    "shutdown",
    "telemetry",
];

/// Uses the table forbids and the tree has all the same, each with its reason in `host/ARCHITECTURE.md`. One that is
/// gone fails a test, so this list only shrinks.
pub const DEBTS: &[(&str, &str)] = &[("cli", "dispatch"), ("telemetry", "config")];

/// Everything a list of uses breaks, one sentence each.
pub fn violations(edges: &[Edge]) -> Vec<String> {
    let mut found = Vec::new();
    for edge in edges {
        let uses = edge.uses();
        let place = format!("{}:{}", edge.file, edge.line);
        let Some(room) = TABLE.iter().find(|r| r.name == edge.room) else {
            found.push(format!("{place}: `{}` is no room of the table", edge.room));
            continue;
        };
        if uses == room.name {
            if let Some(other) = edge.other_adapter() {
                found.push(format!(
                    "{place}: the adapter `{}` uses the adapter `{other}`",
                    edge.part.as_deref().unwrap_or_default()
                ));
            }
            continue;
        }
        let owed = DEBTS.contains(&(room.name, uses));
        if !owed && !room.may_use.contains(&uses) {
            found.push(format!("{place}: `{}` may not use `{uses}`", room.name));
        }
    }
    crate::sorted(found)
}

/// Files and folders of `src` that no room of the table explains, and rooms that are not there.
pub fn unlisted(src: &Path) -> Vec<String> {
    let known: BTreeSet<String> = TABLE.iter().map(|r| r.name.to_owned()).collect();
    let there: BTreeSet<String> = std::fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "lib" && name != "main")
        .collect();
    let extra = there
        .difference(&known)
        .map(|name| format!("`{name}` is not in the table"));
    let gone = known
        .difference(&there)
        .map(|name| format!("`{name}` is in the table and not in the tree"));
    extra.chain(gone).collect()
}

/// Rows as the page must have them: `| `room` | … | `a`, `b` |`, the last column in the order of the table.
pub fn differences(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for room in TABLE {
        let beginning = format!("| `{}` |", room.name);
        let row = page.lines().find(|line| line.starts_with(&beginning));
        let Some(row) = row else {
            found.push(format!("it has no row for `{}`", room.name));
            continue;
        };
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let says: BTreeSet<&str> = last
            .split(',')
            .map(|word| word.trim().trim_matches('`'))
            .filter(|word| !word.is_empty() && *word != "nothing")
            .collect();
        let is: BTreeSet<&str> = room.may_use.iter().copied().collect();
        if says != is {
            found.push(format!(
                "it says that `{}` may use {says:?}, the table says {is:?}",
                room.name
            ));
        }
    }
    for (from, to) in DEBTS {
        if !page.contains(&format!("`{from}` uses `{to}`")) {
            found.push(format!("it does not say that `{from}` uses `{to}`"));
        }
    }
    found
}
