//! Structure: every value has the type, range and keys that the schema gives its place.
//!
//! The check itself is the `jsonschema` crate on the schema that is also printed for editors, so that the two cannot
//! differ. Its findings are put into words here and in [`explain`]. What is wrong is then taken out of the tree, so that
//! the rest can become structs and be checked for sense in the same run.

mod explain;

use std::net::SocketAddr;
use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};

pub(super) use self::explain::suggest;
use super::diagnostic::Problem;
use super::tree::{Node, Origin, Path, Step};
use super::{ByteSize, duration, schema};

/// Rounds of taking things out: a map whose required key is wrong goes in the second, and so on outwards.
const MAX_ROUNDS: usize = 16;

static VALIDATOR: LazyLock<Result<Validator, String>> = LazyLock::new(|| {
    jsonschema::options()
        .should_validate_formats(true)
        .with_format("duration-with-unit", |text: &str| {
            duration::parse(text).is_ok()
        })
        .with_format("byte-size", |text: &str| ByteSize::parse(text).is_ok())
        .with_format("socket-address", |text: &str| {
            text.parse::<SocketAddr>().is_ok()
        })
        .build(schema::root())
        .map_err(|error| error.to_string())
});

/// Reports every structural error in `tree`, and returns what is left of it without them.
pub(super) fn check(tree: &Node, problems: &mut Vec<Problem>) -> Node {
    let validator = match &*VALIDATOR {
        Ok(validator) => validator,
        Err(error) => {
            problems.push(Problem::file(
                tree.span.file,
                format!("the schema itself is wrong: {error}"),
            ));
            return tree.clone();
        }
    };
    let mut sound = tree.clone();
    for round in 0..MAX_ROUNDS {
        let json = sound.to_json();
        let mut findings = Vec::new();
        for error in validator.iter_errors(&json) {
            flatten(&error, &sound, &mut findings);
        }
        if round == 0 {
            findings
                .iter()
                .for_each(|finding| explain::report(finding, tree, problems));
            findings.extend(unresolved(tree));
        }
        if findings.is_empty() {
            break;
        }
        take_out(&mut sound, findings);
    }
    sound
}

/// A structural error, alternatives already decided.
struct Finding {
    /// The value that is wrong, or the map that has a wrong key or lacks one.
    path: Path,
    fault: Fault,
}

enum Fault {
    UnknownKeys(Vec<String>),
    MissingKey(String),
    BadName(String),
    /// No alternative comes near.
    NoAlternative,
    /// The value breaks this rule: the words are the fallback where the schema of its place says nothing better.
    Value {
        keyword: String,
        words: String,
    },
    /// Reported already.
    Unresolved,
}

/// Turns an error into findings. An error of alternatives is replaced by those of the alternative that was meant.
fn flatten(error: &ValidationError<'_>, tree: &Node, findings: &mut Vec<Finding>) {
    let path = path(error.instance_path());
    let fault = match error.kind() {
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let meant = tree
                .at(&path)
                .zip(schema::at(&path, tree))
                .and_then(|(node, schema)| {
                    let schema = nested(schema::resolve(schema), context.len(), node);
                    schema::alternative(schema, node)
                });
            match meant.and_then(|index| context.get(index)) {
                Some(errors) if !errors.is_empty() && !is_choice_of_words(errors) => {
                    return errors
                        .iter()
                        .for_each(|error| flatten(error, tree, findings));
                }
                _ => Fault::NoAlternative,
            }
        }
        Kind::AdditionalProperties { unexpected } => Fault::UnknownKeys(unexpected.clone()),
        Kind::Required { property } => {
            Fault::MissingKey(property.as_str().unwrap_or_default().to_owned())
        }
        Kind::PropertyNames { error } => {
            Fault::BadName(error.instance().as_str().unwrap_or_default().to_owned())
        }
        kind => Fault::Value {
            keyword: kind.keyword().to_owned(),
            words: error.masked().to_string(),
        },
    };
    findings.push(Finding { path, fault });
}

/// Goes down through `anyOf` within `anyOf` (an optional value that has alternatives itself) to the one in question.
fn nested(
    schema: &'static serde_json::Value,
    count: usize,
    node: &Node,
) -> &'static serde_json::Value {
    let list = schema::alternatives(schema);
    if list.len() == count || list.is_empty() {
        return schema;
    }
    match schema::alternative(schema, node).and_then(|index| list.get(index)) {
        Some(inner) => nested(schema::resolve(inner), count, node),
        None => schema,
    }
}

/// Whether all that failed is a comparison with one word: the alternatives are the words of an enum.
fn is_choice_of_words(errors: &[ValidationError<'_>]) -> bool {
    errors
        .iter()
        .all(|error| matches!(error.kind(), Kind::Constant { .. }))
}

fn path(location: &Location) -> Path {
    let steps = location.iter().map(|segment| match segment {
        LocationSegment::Property(key) => Step::Key(key.into_owned()),
        LocationSegment::Index(index) => Step::Index(index),
    });
    Path(steps.collect())
}

/// Values with a variable that could not be resolved: reported before, but not to be used.
fn unresolved(tree: &Node) -> Vec<Finding> {
    fn look(node: &Node, path: &Path, found: &mut Vec<Finding>) {
        match &node.value {
            super::tree::Value::Scalar(scalar) if scalar.origin == Origin::Unresolved => {
                found.push(Finding {
                    path: path.clone(),
                    fault: Fault::Unresolved,
                });
            }
            super::tree::Value::Scalar(_) => {}
            super::tree::Value::List(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| look(item, &path.index(index), found));
            }
            super::tree::Value::Map(entries) => {
                entries
                    .iter()
                    .for_each(|entry| look(&entry.node, &path.key(&entry.key), found));
            }
        }
    }
    let mut found = Vec::new();
    look(tree, &Path::default(), &mut found);
    found
}

/// Removes what the findings are about, the last items of lists first so that indices stay true.
fn take_out(tree: &mut Node, findings: Vec<Finding>) {
    let mut paths: Vec<Path> = findings
        .into_iter()
        .flat_map(|finding| match finding.fault {
            Fault::UnknownKeys(keys) => keys.iter().map(|key| finding.path.key(key)).collect(),
            Fault::BadName(key) => vec![finding.path.key(&key)],
            Fault::MissingKey(_)
            | Fault::NoAlternative
            | Fault::Value { .. }
            | Fault::Unresolved => vec![finding.path],
        })
        .collect();
    paths.sort_unstable_by(|a, b| b.cmp(a));
    paths.dedup();
    paths.iter().for_each(|path| tree.remove(path));
}
