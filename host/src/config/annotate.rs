//! The walk over tree and schema side by side: what a value becomes because of where it stands.
//!
//! A whole variable becomes a number or a boolean where the schema wants one, a path becomes absolute, `{ file: … }` in
//! the place of a secret becomes what the file holds. On the way the walk notes which text must never be shown: secrets,
//! every value that the schema does not know, since a misspelt `token` is a token all the same, and keys that nobody would
//! have meant as keys.

use std::io::Read;
use std::path::Path as FilePath;

use serde_json::Value as Schema;

use super::diagnostic::Problem;
use super::schema;
use super::sources::Sources;
use super::tree::{Entry, Kind, Node, Origin, Path, Scalar, Value, looks_like_key};
use super::variables::is_bare_variable;

/// The most that a secret's file may hold, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// Walks the tree from its root.
pub(super) fn annotate(tree: &mut Node, sources: &mut Sources, problems: &mut Vec<Problem>) {
    Walk { sources, problems }.node(tree, Some(schema::root()), &Path::default());
}

/// Notes that no value under `node` may be shown.
pub(super) fn hide(node: &Node, sources: &mut Sources) {
    match &node.value {
        Value::Scalar(scalar) => {
            if scalar.origin != Origin::Unresolved || !is_bare_variable(&scalar.text) {
                sources.hide(node.span);
            }
        }
        Value::List(items) => items.iter().for_each(|item| hide(item, sources)),
        Value::Map(entries) => entries.iter().for_each(|entry| hide(&entry.node, sources)),
    }
}

struct Walk<'a> {
    sources: &'a mut Sources,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, schema: Option<&'static Schema>, path: &Path) {
        let Some(schema) = schema else {
            return hide(node, self.sources);
        };
        let schema = schema::settle(schema, node);
        if schema::is_secret(schema) {
            return self.secret(node, path);
        }
        let unplaced = !schema::alternatives(schema).is_empty();
        match &mut node.value {
            Value::Map(entries) => {
                let named = schema.get("propertyNames").is_some();
                for (at, entry) in entries.iter_mut().enumerate() {
                    self.mask_key(
                        entry,
                        at,
                        schema::child(schema, &entry.key).is_some(),
                        named,
                    );
                    // A broker of unknown type has no schema for its keys; its type is what the message is about.
                    let known = if unplaced && entry.key == "type" {
                        Some(&Schema::Bool(true))
                    } else {
                        schema::child(schema, &entry.key)
                    };
                    self.node(&mut entry.node, known, &path.key(&entry.key));
                }
            }
            Value::List(items) => {
                let known = schema.get("items");
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, known, &path.index(index));
                }
            }
            Value::Scalar(scalar) => {
                coerce(scalar, schema);
                let misplaced = schema::accepts(schema, "object") && scalar.kind == Kind::Text;
                let foreign = schema.get("format").is_some_and(|f| f == "foreign");
                if misplaced || foreign {
                    // Text where a map of secrets might be wanted, or a setting of another program: who knows which.
                    hide(node, self.sources);
                } else if schema.get("format").is_some_and(|format| format == "path") {
                    self.absolute(node, path);
                }
            }
        }
    }

    /// Hides a key that nobody would have meant as one: `token hunter2`, where the colon was forgotten.
    fn mask_key(&mut self, entry: &mut Entry, at: usize, known: bool, named: bool) {
        let meant = match &entry.node.value {
            Value::Map(_) => entry
                .key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.- ".contains(c)),
            Value::Scalar(scalar) if scalar.kind == Kind::Null => false,
            Value::Scalar(_) | Value::List(_) => known && !named,
        };
        if !meant && !looks_like_key(&entry.key) {
            self.sources.hide(entry.key_span);
            entry.key = if at == 0 {
                "…".to_owned()
            } else {
                format!("…{at}")
            };
        }
    }

    fn secret(&mut self, node: &mut Node, path: &Path) {
        let file_path = path.key("file");
        let file = match &node.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == "file")
                .map(|entry| entry.node.clone()),
            Value::Scalar(_) | Value::List(_) => None,
        };
        let Some(mut file) = file.filter(|_| node.entries().len() == 1) else {
            return hide(node, self.sources);
        };
        let Some(Scalar {
            kind: Kind::Text,
            origin,
            ..
        }) = file.scalar()
        else {
            return hide(&file, self.sources);
        };
        if *origin == Origin::Unresolved {
            return;
        }
        self.absolute(&mut file, &file_path);
        let place = file
            .scalar()
            .map(|scalar| scalar.text.clone())
            .unwrap_or_default();
        let origin = match read_secret(FilePath::new(&place)) {
            Ok(text) => {
                let scalar = Scalar {
                    text,
                    kind: Kind::Text,
                    origin: Origin::Mixed,
                };
                node.value = Value::Scalar(scalar);
                return;
            }
            Err(cause) => {
                let message = format!("the secret's file `{place}` cannot be read: {cause}");
                self.problems
                    .push(Problem::new(file.span, message).at(&file_path));
                Origin::Unresolved
            }
        };
        node.value = Value::Scalar(Scalar {
            text: String::new(),
            kind: Kind::Text,
            origin,
        });
    }

    /// Makes a path absolute: it is relative to the file it stands in.
    fn absolute(&mut self, node: &mut Node, path: &Path) {
        let folder = self.sources.folder(node.span.file);
        let Value::Scalar(scalar) = &mut node.value else {
            return;
        };
        let unfit = scalar.kind != Kind::Text
            || scalar.text.is_empty()
            || scalar.origin == Origin::Unresolved;
        if unfit || scalar.text.contains("://") {
            return;
        }
        match folder.join(&scalar.text).to_str() {
            Some(text) => scalar.text = text.to_owned(),
            None => {
                let message = format!(
                    "the folder `{}` has a name that is not UTF-8",
                    folder.display()
                );
                self.problems.push(
                    Problem::new(node.span, message)
                        .at(path)
                        .help("write an absolute path"),
                );
            }
        }
    }
}

/// A whole variable is text to YAML; where text is not wanted it may be a number, a boolean or nothing.
fn coerce(scalar: &mut Scalar, schema: &'static Schema) {
    if scalar.origin != Origin::Variable || schema::accepts(schema, "string") {
        return;
    }
    let text = scalar.text.trim();
    let kind = if let Ok(value) = text.parse::<i64>() {
        Kind::Int(value)
    } else if let Ok(value) = text.parse::<f64>() {
        Kind::Float(value)
    } else if let Ok(value) = text.parse::<bool>() {
        Kind::Bool(value)
    } else if text.is_empty() || text == "null" {
        Kind::Null
    } else {
        return;
    };
    scalar.kind = kind;
}

fn read_secret(path: &FilePath) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let length = file
        .take(MAX_SECRET + 1)
        .read_to_string(&mut text)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
            _ => error.to_string(),
        })?;
    if length as u64 > MAX_SECRET {
        return Err("it is larger than 64 KiB".to_owned());
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
