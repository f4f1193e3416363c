//! Counting: what was published, what must have come of it, and what did.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::json;
use wharf::message::{Header, Outgoing};

/// A message as it lies at the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id, as its publisher gave it.
    pub id: String,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its headers, in order where the broker keeps one.
    pub headers: Vec<Header>,
    /// Its payload.
    pub payload: Bytes,
}

impl Item {
    /// The first header of that name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|h| &*h.name == name)?;
        std::str::from_utf8(&header.value).ok()
    }

    /// The headers of a dead letter that it had as a message.
    pub fn own_headers(&self) -> impl Iterator<Item = &Header> {
        let added = |h: &Header| h.name.starts_with("wharf-") || h.name.starts_with("__dlq.");
        self.headers.iter().filter(move |h| !added(h))
    }
}

/// A message with an id and a payload.
pub fn message(id: impl Into<String>, payload: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        id: Some(id.into().into()),
        payload: payload.into(),
        ..Outgoing::default()
    }
}

/// What must become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is accepted and nothing is sent.
    Nothing,
    /// One output.
    Output,
    /// A dead letter of this cause.
    Letter(&'static str),
}

/// Messages and their fates.
#[derive(Default)]
pub struct Work {
    /// What is published.
    pub messages: Vec<Outgoing>,
    fates: BTreeMap<String, Fate>,
}

impl Work {
    /// One more.
    ///
    /// # Panics
    ///
    /// When it has no id, or one that is there.
    pub fn add(&mut self, message: Outgoing, fate: Fate) {
        let id = message.id.as_ref().expect("an id").to_string();
        assert!(self.fates.insert(id, fate).is_none(), "an id twice");
        self.messages.push(message);
    }

    /// So many messages that are handled: their ids begin with `name`.
    #[must_use]
    pub fn plain(name: &str, count: usize) -> Self {
        let mut work = Self::default();
        for i in 0..count {
            let payload = format!("message {i}");
            work.add(message(format!("{name}-{i}"), payload), Fate::Output);
        }
        work
    }

    /// So many messages: most are handled, some at the second attempt, some are rejected, some trap.
    #[must_use]
    pub fn mixed(count: usize) -> Self {
        Self::mixed_from(0, count)
    }

    /// The same, the first of them being the one with this number.
    #[must_use]
    pub fn mixed_from(first: usize, count: usize) -> Self {
        let mut work = Self::default();
        for i in first..first + count {
            let (payload, fate) = match i {
                _ if i % 50 == 7 => (
                    json!({"do": "reject"}).to_string(),
                    Fate::Letter("rejected"),
                ),
                _ if i % 101 == 13 => (json!({"do": "trap"}).to_string(), Fate::Letter("trap")),
                _ if i % 37 == 5 => {
                    let order = json!({"do": "retry-until", "attempt": 2, "outputs": [{}]});
                    (order.to_string(), Fate::Output)
                }
                _ => (format!("message {i}"), Fate::Output),
            };
            work.add(message(format!("m-{i}"), payload), fate);
        }
        work
    }

    /// The same messages, each with one of so many keys, in turn.
    #[must_use]
    pub fn with_keys(mut self, keys: usize) -> Self {
        for (i, message) in self.messages.iter_mut().enumerate() {
            message.key = Some(format!("key-{}", i % keys).into());
        }
        self
    }

    /// Takes over another's messages and their fates.
    pub fn extend(&mut self, other: Self) {
        let Self { messages, fates } = other;
        for message in messages {
            let fate = fates[message.id.as_deref().expect("an id")];
            self.add(message, fate);
        }
    }

    /// How many end so.
    pub fn ending(&self, how: impl Fn(Fate) -> bool) -> usize {
        self.fates.values().filter(|fate| how(**fate)).count()
    }

    /// Everything that is wrong: a message without its output or dead letter, one that has both, one that came twice,
    /// and what nobody sent. Outputs are those of one plugin.
    #[must_use]
    pub fn wrong(&self, outputs: &[Item], letters: &[Item]) -> Vec<String> {
        let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        let mut wrong = Vec::new();
        let first = outputs.first().and_then(of);
        for item in outputs {
            match of(item) {
                Some((id, plugin)) if first.is_some_and(|(_, first)| plugin == first) => {
                    seen.entry(id).or_default().0 += 1;
                }
                _ => wrong.push(format!("an output with the id {}", item.id)),
            }
        }
        for item in letters {
            seen.entry(&item.id).or_default().1 += 1;
            let cause = item.header("wharf-cause");
            if let Some(Fate::Letter(wanted)) = self.fates.get(&item.id)
                && cause != Some(wanted)
            {
                wrong.push(format!("{}: cause {cause:?}, not {wanted}", item.id));
            }
        }
        for (id, fate) in &self.fates {
            let wanted = match fate {
                Fate::Nothing => (0, 0),
                Fate::Output => (1, 0),
                Fate::Letter(_) => (0, 1),
            };
            let found = seen.remove(id.as_str()).unwrap_or_default();
            if found != wanted {
                wrong.push(format!(
                    "{id}: {found:?} outputs and dead letters, not {wanted:?}"
                ));
            }
        }
        wrong.extend(seen.keys().map(|id| format!("nobody published {id}")));
        wrong
    }

    /// Nothing is wrong, and something is as soon as one output or dead letter is taken away or is there twice.
    ///
    /// # Panics
    ///
    /// When something is wrong, or a wrong count is not noticed.
    pub fn check(&self, outputs: &[Item], letters: &[Item]) {
        let wrong = self.wrong(outputs, letters);
        assert!(
            wrong.is_empty(),
            "{} are wrong: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(20)]
        );
        for all in [outputs, letters] {
            let Some((last, rest)) = all.split_last() else {
                continue;
            };
            let is_output = std::ptr::eq(all, outputs);
            let twice: Vec<Item> = all.iter().chain([last]).cloned().collect();
            for damaged in [rest, &twice[..]] {
                let wrong = if is_output {
                    self.wrong(damaged, letters)
                } else {
                    self.wrong(outputs, damaged)
                };
                assert_eq!(wrong.len(), 1, "one wrong count is noticed: {wrong:?}");
            }
        }
    }

    /// By id: which of the messages it is, and its key.
    fn published(&self) -> BTreeMap<&str, (usize, Option<&Bytes>)> {
        let all = self.messages.iter().enumerate();
        all.map(|(i, m)| (m.id.as_deref().expect("an id"), (i, m.key.as_ref())))
            .collect()
    }

    /// Outputs that came behind that of a message of the same key that was published later. What a crash repeats is left
    /// out: each message counts when its output came first.
    #[must_use]
    pub fn out_of_order(&self, outputs: &[Item]) -> Vec<String> {
        let published = self.published();
        let mut seen = BTreeSet::new();
        let mut last = BTreeMap::new();
        let mut wrong = Vec::new();
        for output in outputs {
            let found = of(output).and_then(|(id, _)| published.get(id));
            let Some(&(number, key)) = found else {
                wrong.push(format!("nobody published {}", output.id));
                continue;
            };
            if !seen.insert(number) {
                continue;
            }
            let before = last.insert(key, number);
            if before.is_some_and(|before| before > number) {
                wrong.push(format!("{number} behind {before:?}, of {key:?}"));
            }
        }
        wrong
    }

    /// The outputs of each key came in the order in which their messages were published, and it is noticed as soon as
    /// two are exchanged.
    ///
    /// # Panics
    ///
    /// When they did not, or an exchange is not noticed.
    pub fn check_order(&self, outputs: &[Item]) {
        let wrong = self.out_of_order(outputs);
        assert!(
            wrong.is_empty(),
            "{} are out of order: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(20)]
        );
        let published = self.published();
        let key = |output: &Item| {
            let found = of(output).and_then(|(id, _)| published.get(id));
            found.map(|(_, key)| *key)
        };
        let first = &outputs[0];
        let same = |other: &Item| key(other) == key(first) && other.id != first.id;
        let other = outputs.iter().position(same);
        let mut exchanged = outputs.to_vec();
        exchanged.swap(0, other.expect("another of that key"));
        assert!(
            !self.out_of_order(&exchanged).is_empty(),
            "an exchange is noticed"
        );
    }
}

/// The message a first output was made of, and the plugin that made it.
fn of(output: &Item) -> Option<(&str, &str)> {
    output.id.strip_suffix("/0")?.rsplit_once('/')
}
