//! The shipped messages have the fate that `expected.json` says, in both versions.

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use wharf_sdk::{Kind, Message, Outgoing, Result};

/// One line of `messages.jsonl`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    headers: BTreeMap<String, String>,
    payload: Option<Value>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    messages: usize,
    classes: BTreeMap<String, usize>,
    priced_by_first: usize,
    priced_by_fixed: usize,
    trapped_by_first: usize,
    dead_in_both: BTreeMap<String, usize>,
}

/// What became of all messages with one version.
#[derive(Default, PartialEq, Debug)]
struct Fates {
    priced: usize,
    trapped: usize,
    dead: BTreeMap<String, usize>,
}

const MAX_ATTEMPTS: u32 = 4;

#[test]
fn both_versions_do_with_every_message_what_is_expected() {
    let expected: Expected = serde_json::from_str(&read("expected.json")).unwrap();
    let messages = messages();
    assert_eq!(messages.len(), expected.messages);
    assert_eq!(expected.classes.values().sum::<usize>(), expected.messages);

    // Traps are expected here, and hundreds of lines about them are not.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let first = fates(&messages, orders_handler::handle);
    let fixed = fates(&messages, orders_handler_fixed::handle);
    std::panic::set_hook(hook);

    let dead = expected.dead_in_both;
    let (priced, trapped) = (expected.priced_by_first, expected.trapped_by_first);
    assert_eq!(
        first,
        Fates {
            priced,
            trapped,
            dead: dead.clone()
        }
    );
    assert_eq!(
        fixed,
        Fates {
            priced: expected.priced_by_fixed,
            trapped: 0,
            dead
        }
    );
}

fn fates(messages: &[Message], handle: fn(Message) -> Result<Vec<Outgoing>>) -> Fates {
    let mut fates = Fates::default();
    for message in messages {
        let mut message = message.clone();
        let fate = loop {
            let run = message.clone();
            match catch_unwind(|| handle(run)) {
                Err(_panic) => break "trap".to_owned(),
                Ok(Ok(_)) => break "priced".to_owned(),
                Ok(Err(error)) if error.kind() == Kind::Reject => {
                    break error.code().unwrap_or("no code").to_owned();
                }
                Ok(Err(_)) if message.attempt == MAX_ATTEMPTS => break "exhausted".to_owned(),
                Ok(Err(_)) => message.attempt += 1,
            }
        };
        match fate.as_str() {
            "priced" => fates.priced += 1,
            "trap" => fates.trapped += 1,
            _ => *fates.dead.entry(fate).or_default() += 1,
        }
    }
    fates
}

fn messages() -> Vec<Message> {
    read("messages.jsonl")
        .lines()
        .map(|line| message(serde_json::from_str(line).unwrap()))
        .collect()
}

fn message(line: Line) -> Message {
    let payload = match (line.payload, line.payload_text, line.payload_base64) {
        (Some(json), None, None) => json.to_string().into_bytes(),
        (None, Some(text), None) => text.into_bytes(),
        (None, None, Some(bytes)) => STANDARD.decode(bytes).unwrap(),
        _ => panic!("a message has one payload"),
    };
    let builder = Message::builder(payload)
        .key(line.key)
        .max_attempts(MAX_ATTEMPTS);
    let headers = line.headers.into_iter();
    headers
        .fold(builder, |builder, (name, value)| {
            builder.header(name, value)
        })
        .build()
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
