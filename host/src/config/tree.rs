//! A YAML document with the place of everything in it.
//!
//! Serde structs cannot say where a value stood, and a map in memory has already forgotten that a key came twice. This
//! tree keeps both, keeps the order of keys, and keeps for each scalar what variables did to it. Several files become
//! one tree; each node knows its file.

mod build;

use std::fmt;

pub(super) use self::build::build;

/// A range of text in one of the [`Sources`](super::sources::Sources). Lines and columns count from one, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) end_line: usize,
    /// The column after the last character.
    pub(super) end_column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value. Keys are unique within a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    /// Whether it came through `<<`.
    pub(super) merged: bool,
    pub(super) node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    /// The text, with variables resolved where that succeeded.
    pub(super) text: String,
    pub(super) kind: Kind,
    pub(super) origin: Origin,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
}

/// Where a scalar's text came from, which decides whether it may be shown and what it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands in the file, on one line.
    Written,
    /// It stands in the file on several lines. A missing key makes one value of two, so there may be a secret in it.
    Lines,
    /// It was one whole variable, so it may become a number or a boolean.
    Variable,
    /// Some of it came from variables, or it was read from a secret's file.
    Mixed,
    /// A variable in it could not be resolved, which has been reported: nothing else about it is.
    Unresolved,
}

/// One step into a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way to a node, from the root: `plugins.audit.publish.trail.allow_topic_override[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(pub(super) Vec<Step>);

/// Whether a key is a word, so that it may be shown whatever it turns out to be.
pub(super) fn looks_like_key(key: &str) -> bool {
    key.len() <= 128
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

impl Path {
    pub(super) fn of<const N: usize>(keys: [&str; N]) -> Self {
        Self(
            keys.into_iter()
                .map(|key| Step::Key(key.to_owned()))
                .collect(),
        )
    }

    pub(super) fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.value {
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => &mut [],
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The places of all scalars in it. A list or map itself has only the place where it begins.
    pub(super) fn scalar_spans(&self) -> Vec<Span> {
        match &self.value {
            Value::Scalar(_) => vec![self.span],
            Value::List(items) => items.iter().flat_map(Self::scalar_spans).collect(),
            Value::Map(entries) => entries
                .iter()
                .flat_map(|entry| entry.node.scalar_spans())
                .collect(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.scalar()
            .is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    pub(super) fn at(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, step| node.child(step))
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), Value::Map(_)) => self.get(key),
            (Step::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        }
    }

    /// The place of the key that ends `path`, or of the last thing on the way that exists.
    pub(super) fn key_span(&self, path: &Path) -> Span {
        let mut node = self;
        let mut span = Span {
            end_line: self.span.line,
            end_column: self.span.column,
            ..self.span
        };
        for step in &path.0 {
            match (step, &node.value) {
                (Step::Key(key), Value::Map(_)) => match node.entry(key) {
                    Some(entry) => (node, span) = (&entry.node, entry.key_span),
                    None => return span,
                },
                (Step::Index(index), Value::List(items)) => match items.get(*index) {
                    Some(item) => (node, span) = (item, item.span),
                    None => return span,
                },
                _ => return span,
            }
        }
        span
    }

    /// The place of the value at `path`: the scalar itself, or the key of a list or map, which may be pages long.
    pub(super) fn value_span(&self, path: &Path) -> Span {
        match self.at(path) {
            Some(node) if node.scalar().is_some_and(|scalar| !scalar.text.is_empty()) => node.span,
            _ => self.key_span(path),
        }
    }

    /// Takes out what `path` leads to.
    pub(super) fn remove(&mut self, path: &Path) {
        let Some((last, way)) = path.0.split_last() else {
            return;
        };
        let mut node = self;
        for step in way {
            let next = match (step, &mut node.value) {
                (Step::Key(key), Value::Map(entries)) => entries
                    .iter_mut()
                    .find(|entry| entry.key == *key)
                    .map(|entry| &mut entry.node),
                (Step::Index(index), Value::List(items)) => items.get_mut(*index),
                _ => None,
            };
            let Some(next) = next else { return };
            node = next;
        }
        match (last, &mut node.value) {
            (Step::Key(key), Value::Map(entries)) => entries.retain(|entry| entry.key != *key),
            (Step::Index(index), Value::List(items)) if *index < items.len() => {
                items.remove(*index);
            }
            _ => {}
        }
    }

    /// The same as plain JSON.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_json(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

impl Scalar {
    fn to_json(&self) -> serde_json::Value {
        match self.kind {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool(value) => value.into(),
            Kind::Int(value) => value.into(),
            // JSON has no infinities; as text they fail where a number is wanted, which is right.
            Kind::Float(value) if !value.is_finite() => self.text.clone().into(),
            Kind::Float(value) => value.into(),
            Kind::Text => self.text.clone().into(),
        }
    }
}
