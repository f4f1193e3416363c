//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in values.
//!
//! They are resolved in parsed scalars, never in text: a value that holds `: `, a quote or a newline stays one value. An
//! empty variable counts as unset for `:-` and `:?`, as in a shell. Keys are left alone.

use super::diagnostic::Problem;
use super::tree::{Node, Origin, Path, Scalar, Value, looks_like_key};

/// Where variables come from.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Resolves every scalar under `node`, and reports every variable that cannot be.
pub(super) fn resolve(
    node: &mut Node,
    path: &Path,
    env: Environment<'_>,
    problems: &mut Vec<Problem>,
) {
    let span = node.span;
    match &mut node.value {
        Value::Scalar(scalar) => {
            for failure in resolve_scalar(scalar, env) {
                problems.push(
                    Problem::new(span, failure.message)
                        .at(path)
                        .help_if(failure.help),
                );
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                resolve(item, &path.index(index), env, problems);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let shown = if looks_like_key(&entry.key) {
                    &entry.key
                } else {
                    "…"
                };
                resolve(&mut entry.node, &path.key(shown), env, problems);
            }
        }
    }
}

/// Whether a scalar is one variable and nothing that could be a secret itself: it may be shown.
pub(super) fn is_bare_variable(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(is_name)
}

#[derive(Debug, PartialEq, Eq)]
struct Failure {
    message: String,
    help: Option<String>,
}

impl Failure {
    fn new(message: String, help: impl Into<String>) -> Self {
        Self {
            message,
            help: Some(help.into()),
        }
    }
}

fn resolve_scalar(scalar: &mut Scalar, env: Environment<'_>) -> Vec<Failure> {
    if !scalar.text.contains('$') {
        return Vec::new();
    }
    let mut failures = Vec::new();
    let mut text = String::new();
    let mut variables = 0;
    let mut rest = scalar.text.as_str();
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            text.push('$');
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('{') {
            let Some((expression, tail)) = tail.split_once('}') else {
                failures.push(Failure::new(
                    "`${` is not closed".to_owned(),
                    "write `${NAME}`, or `$$` for a dollar sign",
                ));
                break;
            };
            variables += 1;
            match evaluate(expression, env) {
                Ok(value) => text.push_str(&value),
                Err(failure) => failures.push(failure),
            }
            rest = tail;
        } else {
            text.push('$');
        }
    }
    text.push_str(rest);
    let whole = variables == 1
        && scalar.text.starts_with("${")
        && scalar.text.find('}') == Some(scalar.text.len() - 1);
    scalar.origin = match (failures.is_empty(), variables) {
        (false, _) => Origin::Unresolved,
        (true, 0) => scalar.origin,
        (true, _) if whole => Origin::Variable,
        (true, _) => Origin::Mixed,
    };
    if failures.is_empty() {
        scalar.text = text;
    }
    failures
}

/// What stands between `${` and `}`.
fn evaluate(expression: &str, env: Environment<'_>) -> Result<String, Failure> {
    let end = expression
        .find(|c: char| !is_name_char(c))
        .unwrap_or(expression.len());
    let (name, operator) = expression.split_at(end);
    if !is_name(name) {
        // Not the expression itself: what follows may be a default, and that a secret.
        let message = "`${` is not followed by the name of a variable".to_owned();
        return Err(Failure::new(
            message,
            "names are letters, digits and `_`; write `$$` for a dollar sign",
        ));
    }
    let value = env(name);
    if operator.is_empty() {
        return value.ok_or_else(|| {
            let help = format!("set it, or give it a default: `${{{name}:-value}}`");
            Failure::new(format!("the variable `{name}` is not set"), help)
        });
    }
    let value = value.filter(|value| !value.is_empty());
    if let Some(default) = operator.strip_prefix(":-") {
        if default.contains("${") {
            return Err(Failure::new(
                format!("the default of `{name}` holds a variable"),
                "a default is plain text",
            ));
        }
        return Ok(value.unwrap_or_else(|| default.to_owned()));
    }
    if let Some(message) = operator.strip_prefix(":?") {
        return value.ok_or_else(|| {
            let said = if message.trim().is_empty() {
                "it is required"
            } else {
                message.trim()
            };
            Failure {
                message: format!("the variable `{name}` is not set: {said}"),
                help: None,
            }
        });
    }
    let help = "the forms are `${NAME}`, `${NAME:-default}` and `${NAME:?message}`";
    Err(Failure::new(
        format!("what follows the name in `${{{name}…}}` means nothing"),
        help,
    ))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(is_name_char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::Kind;

    fn run(text: &str) -> (String, Origin, Vec<Failure>) {
        let env = |name: &str| match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("x: {y: 1}\n${A}".to_owned()),
            _ => None,
        };
        let mut scalar = Scalar {
            text: text.to_owned(),
            kind: Kind::Text,
            origin: Origin::Written,
        };
        let failures = resolve_scalar(&mut scalar, &env);
        (scalar.text, scalar.origin, failures)
    }

    #[test]
    fn all_forms() {
        for (text, want) in [
            ("${A}", "alpha"),
            ("<${A}/${A}>", "<alpha/alpha>"),
            ("${B:-beta}", "beta"),
            ("${EMPTY:-beta}", "beta"),
            ("${EMPTY}", ""),
            ("${B:-}", ""),
            ("${A:?needed}", "alpha"),
            ("$$A costs $5 and $${A}", "$A costs $5 and ${A}"),
            ("${B:-a:-b}", "a:-b"),
        ] {
            let (got, _, failures) = run(text);
            assert!(failures.is_empty(), "{text}: {failures:?}");
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn a_value_is_not_read_again() {
        assert_eq!(run("${TRICKY}").0, "x: {y: 1}\n${A}");
    }

    #[test]
    fn only_a_whole_variable_may_change_its_type() {
        assert_eq!(run("${A}").1, Origin::Variable);
        assert_eq!(run("${A:-5}").1, Origin::Variable);
        assert_eq!(run("${A}${A}").1, Origin::Mixed);
        assert_eq!(run("x${A}").1, Origin::Mixed);
        assert_eq!(run("$$").1, Origin::Written);
    }

    #[test]
    fn every_failure_in_a_value_is_reported() {
        let (text, origin, failures) = run("${B} ${EMPTY:?say why} ${1} ${A:=x} ${B:-${A}} ${A");
        assert_eq!(origin, Origin::Unresolved);
        assert_eq!(text, "${B} ${EMPTY:?say why} ${1} ${A:=x} ${B:-${A}} ${A");
        let messages: Vec<_> = failures
            .iter()
            .map(|failure| failure.message.as_str())
            .collect();
        assert_eq!(
            messages,
            [
                "the variable `B` is not set",
                "the variable `EMPTY` is not set: say why",
                "`${` is not followed by the name of a variable",
                "what follows the name in `${A…}` means nothing",
                "the default of `B` holds a variable",
                "`${` is not closed",
            ]
        );
    }
}
