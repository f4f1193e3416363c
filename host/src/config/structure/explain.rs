//! Structural errors in words: what is there, what is wanted, and what was probably meant.

use serde_json::Value as Schema;

use super::{Fault, Finding};
use crate::config::diagnostic::Problem;
use crate::config::tree::{Kind, Node, Origin, Path, Scalar, Value};
use crate::config::{ByteSize, duration, schema};

/// Broker types that this version of Wharf has, whether compiled in or not.
const BROKER_TYPES: [&str; 5] = ["embedded", "redis", "kafka", "rabbitmq", "nats"];

/// Puts one finding into words, unless it follows from something that was reported already.
pub(super) fn report(finding: &Finding, tree: &Node, problems: &mut Vec<Problem>) {
    let path = &finding.path;
    let resolved = |node: &Node| {
        node.scalar()
            .is_none_or(|scalar| scalar.origin != Origin::Unresolved)
    };
    if !tree.at(path).is_none_or(resolved) {
        return;
    }
    let schema = schema::at(path, tree);
    match &finding.fault {
        Fault::UnknownKeys(keys) => keys
            .iter()
            .for_each(|key| problems.push(unknown_key(path, key, tree))),
        Fault::MissingKey(key) => problems.push(missing_key(path, key, tree)),
        Fault::BadName(name) => problems.push(bad_name(path, name, tree)),
        Fault::NoAlternative => problems.push(no_alternative(path, schema, tree)),
        Fault::Value { keyword, words } => {
            problems.push(wrong_value(path, schema, keyword, words, tree))
        }
        Fault::Unresolved => {}
    }
}

/// Which of `known` was probably meant by `word`.
pub(in crate::config) fn closest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|one| (strsim::damerau_levenshtein(word, one), one));
    let (distance, best) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + best.len() / 4).then_some(best)
}

/// "did you mean", or all that is known.
pub(in crate::config) fn suggest(word: &str, known: &[&str], what: &str) -> Option<String> {
    match closest(word, known.iter().copied()) {
        Some(best) => Some(format!("did you mean `{best}`?")),
        None if known.is_empty() => None,
        None => Some(format!("{what}: {}", known.join(", "))),
    }
}

fn unknown_key(path: &Path, key: &str, tree: &Node) -> Problem {
    let whole = path.key(key);
    let schema = tree
        .at(path)
        .zip(schema::at(path, tree))
        .map(|(node, schema)| schema::settle(schema, node));
    let known: Vec<&str> = schema
        .and_then(schema::properties)
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    Problem::new(tree.key_span(&whole), format!("unknown key `{key}`"))
        .at(&whole)
        .help_if(suggest(key, &known, "the keys here are"))
}

fn missing_key(path: &Path, key: &str, tree: &Node) -> Problem {
    let whole = path.key(key);
    let description = schema::at(&whole, tree)
        .and_then(|schema| schema.get("description"))
        .and_then(Schema::as_str);
    let message = match path.0.is_empty() {
        true if key == "version" => "`version` is missing; write `version: 1`".to_owned(),
        _ => format!("`{key}` is missing"),
    };
    Problem::new(tree.key_span(path), message)
        .at(&whole)
        .help_if(
            description
                .filter(|_| !path.0.is_empty())
                .map(str::to_owned),
        )
}

fn bad_name(path: &Path, name: &str, tree: &Node) -> Problem {
    let whole = path.key(name);
    Problem::new(tree.key_span(&whole), format!("`{name}` cannot be a name"))
        .at(&whole)
        .help("names are lower-case letters, digits, `.`, `_` and `-`, begin with a letter or digit, and are at most 128 long")
}

fn no_alternative(path: &Path, schema: Option<&'static Schema>, tree: &Node) -> Problem {
    let node = tree.at(path);
    let schema = schema.map(schema::resolve);
    let list = schema.map_or(&[][..], schema::alternatives);
    // Only brokers are told apart by a key.
    if list.iter().any(|one| {
        schema::resolve(one)
            .pointer("/properties/type/const")
            .is_some()
    }) {
        return broker_type(path, list, tree);
    }
    let words = schema.map(words).unwrap_or_default();
    match node.and_then(Node::scalar) {
        Some(scalar) if !words.is_empty() && scalar.kind == Kind::Text => {
            not_one_of(path, scalar, &words, tree)
        }
        _ => wrong_type(path, schema, tree),
    }
}

fn broker_type(path: &Path, list: &'static [Schema], tree: &Node) -> Problem {
    let compiled: Vec<&str> = list
        .iter()
        .filter_map(|one| schema::resolve(one).pointer("/properties/type/const"))
        .filter_map(Schema::as_str)
        .collect();
    let all = compiled.join(", ");
    let whole = path.key("type");
    let Some(kind) = tree
        .at(path)
        .filter(|node| matches!(node.value, Value::Map(_)))
    else {
        return wrong_type(path, schema::at(path, tree), tree);
    };
    match kind.get("type").and_then(Node::scalar) {
        None => Problem::new(tree.key_span(path), "`type` is missing")
            .at(&whole)
            .help(format!("the types of broker are: {all}")),
        Some(scalar) if BROKER_TYPES.contains(&scalar.text.as_str()) => {
            let message = format!("this build of wharf has no support for `{}`", scalar.text);
            Problem::new(tree.value_span(&whole), message)
                .at(&whole)
                .help(format!(
                    "build it with the cargo feature `{}`; this one has: {all}",
                    scalar.text
                ))
        }
        Some(scalar) => Problem::new(
            tree.value_span(&whole),
            format!("{} is not a type of broker", shown(scalar)),
        )
        .at(&whole)
        .help_if(suggest(&scalar.text, &compiled, "the types of broker are")),
    }
}

fn wrong_value(
    path: &Path,
    schema: Option<&'static Schema>,
    keyword: &str,
    fallback: &str,
    tree: &Node,
) -> Problem {
    let settled = schema
        .zip(tree.at(path))
        .map(|(schema, node)| schema::settle(schema, node));
    let scalar = tree.at(path).and_then(Node::scalar);
    let format = settled
        .and_then(|schema| schema.get("format"))
        .and_then(Schema::as_str)
        .unwrap_or_default();
    let span = tree.value_span(path);
    let problem = |message: String| Problem::new(span, message).at(path);
    match (keyword, scalar) {
        ("type" | "pattern" | "format", Some(scalar))
            if format == "duration-with-unit" && scalar.kind != Kind::Null =>
        {
            match duration::parse(&scalar.text) {
                Err(message) => problem(unless_variable(scalar, message, "a duration")),
                Ok(_) => problem(format!("{} is not a duration", shown(scalar))),
            }
        }
        ("type" | "pattern" | "format", Some(scalar))
            if format == "byte-size" && scalar.kind != Kind::Null =>
        {
            match ByteSize::parse(&scalar.text) {
                Err(message) => problem(unless_variable(scalar, message, "a size")),
                Ok(_) => problem(format!("{} is not a size", shown(scalar))),
            }
        }
        ("pattern", Some(scalar)) if format == "digest" => {
            problem(format!("{} is not a digest", shown(scalar)))
                .help("write `sha256:` and the 64 hexadecimal digits that `sha256sum` prints")
        }
        ("format", Some(scalar)) if format == "socket-address" => {
            problem(format!("{} is not an address with a port", shown(scalar))).help(
                "write an IP address and a port: `127.0.0.1:9090`, `0.0.0.0:9090` or `[::]:9090`",
            )
        }
        ("type", _) => wrong_type(path, settled, tree),
        ("enum", Some(scalar)) => {
            let words = settled.map(words).unwrap_or_default();
            not_one_of(path, scalar, &words, tree)
        }
        ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", Some(scalar)) => {
            out_of_range(path, scalar, settled, tree)
        }
        ("minLength", _) => problem("this must not be empty".to_owned()),
        _ => problem(fallback.to_owned()),
    }
}

fn out_of_range(
    path: &Path,
    scalar: &Scalar,
    schema: Option<&'static Schema>,
    tree: &Node,
) -> Problem {
    let limit = |key| {
        schema
            .and_then(|schema| schema.get(key))
            .and_then(Schema::as_number)
    };
    let message = match (limit("minimum"), limit("maximum")) {
        (Some(low), Some(high)) => format!("{} is out of range: {low} to {high}", shown(scalar)),
        (Some(low), None) => format!("{} is too small: at least {low}", shown(scalar)),
        (None, Some(high)) => format!("{} is too large: at most {high}", shown(scalar)),
        (None, None) => format!("{} is out of range", shown(scalar)),
    };
    Problem::new(tree.value_span(path), message).at(path)
}

fn not_one_of(path: &Path, scalar: &Scalar, words: &[&str], tree: &Node) -> Problem {
    let message = match words {
        [word] => format!("{} is not `{word}`", shown(scalar)),
        _ => format!("{} is not one of {}", shown(scalar), quoted(words)),
    };
    let meant =
        closest(&scalar.text, words.iter().copied()).map(|best| format!("did you mean `{best}`?"));
    Problem::new(tree.value_span(path), message)
        .at(path)
        .help_if(meant)
}

fn wrong_type(path: &Path, schema: Option<&'static Schema>, tree: &Node) -> Problem {
    let secret = schema.is_some_and(|schema| schema::is_secret(schema::resolve(schema)));
    let wanted = schema.map_or_else(|| "something else".to_owned(), wanted);
    let node = tree.at(path);
    let (found, help) = match node.map(|node| &node.value) {
        None => ("nothing".to_owned(), None),
        Some(Value::Map(_)) => ("a map".to_owned(), None),
        Some(Value::List(_)) => ("a list".to_owned(), None),
        Some(Value::Scalar(scalar)) => match scalar.kind {
            Kind::Null => ("nothing".to_owned(), None),
            _ if secret => (
                "a number or boolean".to_owned(),
                Some("put it in quotes".to_owned()),
            ),
            _ if scalar.origin != Origin::Written => (shown(scalar), None),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => {
                let quote = schema.is_some_and(|schema| schema::accepts(schema, "string"));
                let kind = if matches!(scalar.kind, Kind::Bool(_)) {
                    "the boolean"
                } else {
                    "the number"
                };
                let help = quote.then(|| format!("put it in quotes: \"{}\"", scalar.text));
                (format!("{kind} `{}`", scalar.text), help)
            }
            // Text where a map is wanted may be a misplaced secret.
            Kind::Text if schema.is_some_and(|schema| schema::accepts(schema, "object")) => {
                ("text".to_owned(), None)
            }
            Kind::Text => (format!("the text `{}`", scalar.text), None),
        },
    };
    Problem::new(
        tree.value_span(path),
        format!("{wanted} is wanted here, not {found}"),
    )
    .at(path)
    .help_if(help)
}

/// The words of an enum, through references and through being optional.
fn words(schema: &'static Schema) -> Vec<&'static str> {
    let schema = schema::resolve(schema);
    let own = schema
        .get("enum")
        .and_then(Schema::as_array)
        .into_iter()
        .flatten()
        .chain(schema.get("const"));
    let nested = schema::alternatives(schema).iter().flat_map(words);
    own.filter_map(Schema::as_str).chain(nested).collect()
}

/// What a schema wants, by its types and words.
fn wanted(schema: &'static Schema) -> String {
    let schema = schema::resolve(schema);
    if schema::is_secret(schema) {
        return "text or `{ file: … }`".to_owned();
    }
    let words = words(schema);
    if !words.is_empty() {
        return quoted(&words);
    }
    match schema.get("format").and_then(Schema::as_str) {
        Some("duration-with-unit") => return "a duration such as `5s`".to_owned(),
        Some("byte-size") => return "a size such as `64KiB`".to_owned(),
        _ => {}
    }
    let kinds = [
        ("object", "a map"),
        ("array", "a list"),
        ("string", "text"),
        ("boolean", "`true` or `false`"),
        ("integer", "a whole number"),
        ("number", "a number"),
    ];
    let found: Vec<&str> = kinds
        .iter()
        .filter(|(kind, _)| schema::accepts(schema, kind))
        .map(|(_, words)| *words)
        .collect();
    found.join(" or ")
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A value as it may be shown: not if it came from a variable or a file, which could hold anything.
fn shown(scalar: &Scalar) -> String {
    match scalar.origin {
        Origin::Written => format!("`{}`", scalar.text),
        Origin::Lines => "this value".to_owned(),
        Origin::Variable | Origin::Mixed | Origin::Unresolved => {
            "the value of this variable".to_owned()
        }
    }
}

fn unless_variable(scalar: &Scalar, message: String, what: &str) -> String {
    match scalar.origin {
        Origin::Written => message,
        _ => format!("{} is not {what}", shown(scalar)),
    }
}
