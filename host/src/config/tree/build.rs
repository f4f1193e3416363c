//! From YAML text to a tree, by the events of `saphyr-parser`.
//!
//! The loaders that come with YAML crates stop at the first key that comes twice, or do not notice. Building from events
//! costs little more than using one, and reports all of them with both places. It also is the place for what text may do:
//! nest 64 deep and, through aliases, grow to 100,000 nodes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr::Scalar as Core;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{Entry, Kind, Node, Origin, Scalar, Span, Value, looks_like_key};
use crate::config::diagnostic::Problem;

const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 100_000;

/// Reads one document. `None`: there is nothing in it. What is wrong with it goes to `problems`; whatever could still
/// be understood is returned, so that the rest is checked as well.
pub(in crate::config) fn build(
    file: usize,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    let mut builder = Builder {
        file,
        stack: Vec::new(),
        anchors: BTreeMap::new(),
        root: None,
        nodes: 0,
        problems,
    };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::DocumentStart(_), span)) => {
                documents += 1;
                if documents > 1 {
                    let problem = Problem::syntax(builder.span(span), "a second document begins here")
                        .help("one file holds one document; put plugins into files of their own under plugins.d");
                    builder.problems.push(problem);
                    break;
                }
            }
            Ok((event, span)) => {
                let span = builder.span(span);
                if let Err(problem) = builder.event(event, span) {
                    builder.problems.push(problem.keys_only());
                    return None;
                }
            }
            Err(error) => {
                let mark = error.marker();
                let at = Span {
                    file,
                    line: mark.line(),
                    column: mark.col() + 1,
                    end_line: mark.line(),
                    end_column: mark.col() + 2,
                };
                let line = text
                    .lines()
                    .nth(mark.line().saturating_sub(1))
                    .unwrap_or_default();
                let help = "inside braces and brackets a variable stands in quotes: `\"${NAME}\"`";
                let help = line.contains("${").then(|| help.to_owned());
                builder.problems.push(
                    Problem::syntax(at, format!("this is not YAML: {}", error.info()))
                        .help_if(help),
                );
                return None;
            }
        }
    }
    builder.root.filter(|node| !node.is_null())
}

/// A list or map that is still open.
struct Open {
    span: Span,
    anchor: usize,
    value: Partial,
}

enum Partial {
    List(Vec<Node>),
    Map(Vec<Entry>, Pending),
}

/// Where a map stands between a key and its value.
enum Pending {
    Key,
    Value(String, Span),
    /// The value of `<<`. Written in quotes it is a key like any other.
    Merge(Span),
}

struct Builder<'p> {
    file: usize,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    /// Nodes made so far, those that aliases copied included.
    nodes: usize,
    problems: &'p mut Vec<Problem>,
}

impl Builder<'_> {
    fn span(&self, span: saphyr_parser::Span) -> Span {
        Span {
            file: self.file,
            line: span.start.line(),
            column: span.start.col() + 1,
            end_line: span.end.line(),
            end_column: span.end.col() + 1,
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Problem>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(Open {
                    value: Partial::Map(_, pending @ Pending::Key),
                    ..
                }) = self.stack.last_mut()
                    && style == ScalarStyle::Plain
                    && text == "<<"
                {
                    *pending = Pending::Merge(span);
                    return Ok(());
                }
                let node = scalar(text, style, tag.as_deref(), span)?;
                self.place(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                self.open(span, anchor, Partial::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), span)?;
                self.open(span, anchor, Partial::Map(Vec::new(), Pending::Key))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.place(node, 0),
                None => refuse(Problem::new(
                    span,
                    "this alias stands inside the value that it names",
                )),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, span: Span, anchor: usize, value: Partial) -> Result<(), Box<Problem>> {
        if self.stack.len() == MAX_DEPTH {
            return refuse(Problem::new(
                span,
                format!("this is nested more than {MAX_DEPTH} deep"),
            ));
        }
        if let Some(Open {
            value: Partial::Map(_, Pending::Key),
            ..
        }) = self.stack.last()
        {
            return refuse(Problem::new(span, "a key must be plain text"));
        }
        self.stack.push(Open {
            span,
            anchor,
            value,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Box<Problem>> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.value {
            Partial::List(items) => Value::List(items),
            Partial::Map(entries, _) => Value::Map(entries),
        };
        self.place(
            Node {
                span: open.span,
                value,
            },
            open.anchor,
        )
    }

    /// Puts a finished node where it belongs: as a key, a value, an item, or the root.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Box<Problem>> {
        self.nodes += count(&node);
        if self.nodes > MAX_NODES {
            return refuse(Problem::new(
                node.span,
                format!("aliases make this more than {MAX_NODES} values long"),
            ));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|open| &mut open.value) {
            None => self.root = Some(node),
            Some(Partial::List(items)) => items.push(node),
            Some(Partial::Map(entries, pending)) => {
                match std::mem::replace(pending, Pending::Key) {
                    Pending::Key => match node.value {
                        Value::Scalar(scalar) => *pending = Pending::Value(scalar.text, node.span),
                        Value::List(_) | Value::Map(_) => {
                            return refuse(Problem::new(node.span, "a key must be plain text"));
                        }
                    },
                    Pending::Merge(span) => merge(entries, node, span, self.problems),
                    Pending::Value(key, key_span) => add(
                        entries,
                        Entry {
                            key,
                            key_span,
                            merged: false,
                            node,
                        },
                        self.problems,
                    ),
                }
            }
        }
        Ok(())
    }
}

/// Adds a key to a map that must not have it yet. One that came by `<<` gives way.
fn add(entries: &mut Vec<Entry>, entry: Entry, problems: &mut Vec<Problem>) {
    let Some(first) = entries.iter_mut().find(|known| known.key == entry.key) else {
        return entries.push(entry);
    };
    if first.merged {
        *first = entry;
        return;
    }
    let shown = looks_like_key(&entry.key);
    let message = if shown {
        format!("`{}` is set twice in one map", entry.key)
    } else {
        "a key is set twice in one map".to_owned()
    };
    let problem = Problem::new(entry.key_span, message)
        .related(first.key_span, "the first time is here")
        .hiding([&entry.node, &first.node]);
    problems.push(if shown {
        problem
    } else {
        problem.hiding_spans([entry.key_span, first.key_span])
    });
}

/// Carries out `<<: *anchor`: the keys of the map (or maps) it names, where they are not set beside it.
fn merge(entries: &mut Vec<Entry>, node: Node, span: Span, problems: &mut Vec<Problem>) {
    let sources = match node.value {
        Value::List(items) => items,
        Value::Map(_) | Value::Scalar(_) => vec![node],
    };
    for source in sources {
        let Value::Map(added) = source.value else {
            let problem = Problem::new(span, "`<<` takes an alias of a map, or a list of them")
                .hiding([&source]);
            problems.push(problem);
            continue;
        };
        for entry in added {
            if !entries.iter().any(|known| known.key == entry.key) {
                entries.push(Entry {
                    merged: true,
                    ..entry
                });
            }
        }
    }
}

/// Ends the reading of a file: what comes after cannot be trusted to mean what it seems to.
fn refuse<T>(problem: Problem) -> Result<T, Box<Problem>> {
    Err(Box::new(problem))
}

fn scalar(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
) -> Result<Node, Box<Problem>> {
    if !tag.is_none_or(Tag::is_yaml_core_schema) {
        refuse_tag(tag, span)?;
    }
    let owned = text.clone().into_owned();
    let Some(core) =
        Core::parse_from_cow_and_metadata(text, style, tag.map(Cow::Borrowed).as_ref())
    else {
        return refuse(Problem::new(span, "this value is not what its tag says"));
    };
    let kind = match core {
        Core::Null => Kind::Null,
        Core::Boolean(value) => Kind::Bool(value),
        Core::Integer(value) => Kind::Int(value),
        Core::FloatingPoint(value) => Kind::Float(value.into_inner()),
        Core::String(_) => Kind::Text,
    };
    let origin = if span.line == span.end_line {
        Origin::Written
    } else {
        Origin::Lines
    };
    Ok(Node {
        span,
        value: Value::Scalar(Scalar {
            text: owned,
            kind,
            origin,
        }),
    })
}

fn refuse_tag(tag: Option<&Tag>, span: Span) -> Result<(), Box<Problem>> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => refuse(
            Problem::new(span, format!("the tag `{tag}` is not known"))
                .help("write the value without a tag"),
        ),
        _ => Ok(()),
    }
}

fn count(node: &Node) -> usize {
    // A node that was built here was counted when its parts were placed; a copy brings all of its parts at once.
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => {
            1 + entries
                .iter()
                .map(|entry| count(&entry.node))
                .sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<Problem>) {
        let mut problems = Vec::new();
        let node = build(0, text, &mut problems);
        (node, problems)
    }

    fn json(text: &str) -> serde_json::Value {
        let (node, problems) = read(text);
        assert!(problems.is_empty(), "{problems:?}");
        node.unwrap().to_json()
    }

    #[test]
    fn scalars_have_the_types_of_the_core_schema() {
        assert_eq!(
            json("{a: 1, b: 1.5, c: true, d: ~, e: '1', f: yes, g: 0x10, h: !!str 5}"),
            serde_json::json!({"a": 1, "b": 1.5, "c": true, "d": null, "e": "1", "f": "yes", "g": 16, "h": "5"})
        );
    }

    #[test]
    fn spans_are_where_the_text_is() {
        let (node, _) = read("a:\n  bcd: efg\n");
        let node = node.unwrap();
        let path = super::super::Path::of(["a", "bcd"]);
        let key = node.key_span(&path);
        assert_eq!((key.line, key.column, key.end_column), (2, 3, 6));
        let value = node.value_span(&path);
        assert_eq!((value.line, value.column, value.end_column), (2, 8, 11));
    }

    #[test]
    fn aliases_and_merge_keys_copy_what_they_name() {
        assert_eq!(
            json("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x\nd: {r: 1, q: 4, <<: [*x]}"),
            serde_json::json!({"a": {"p": 1, "q": 2}, "b": {"q": 3, "p": 1}, "c": {"p": 1, "q": 2}, "d": {"r": 1, "q": 4, "p": 1}})
        );
    }

    #[test]
    fn a_merge_key_in_quotes_is_a_key() {
        assert_eq!(json("'<<': 1"), serde_json::json!({"<<": 1}));
    }

    #[test]
    fn aliases_cannot_expand_without_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let item = format!("*a{}", level - 1);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![item; 10].join(", ")
            ));
        }
        let (node, problems) = read(&text);
        assert!(node.is_none() && problems.len() == 1, "{problems:?}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let (node, problems) = read(&format!("{}{}", "[".repeat(65), "]".repeat(65)));
        assert!(node.is_none() && problems.len() == 1, "{problems:?}");
    }

    #[test]
    fn every_key_that_comes_twice_is_reported() {
        let (node, problems) = read("a: 1\na: 2\nb: {c: 1, c: 2}\n");
        assert!(node.is_some());
        assert_eq!(problems.len(), 2);
    }
}
