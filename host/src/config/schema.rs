//! The JSON Schema of a configuration file, and the way through it.
//!
//! `schemars` derives it from the structs. Three things are added: how large a number may be where the Rust type says
//! it, the `x-` keys at the top that hold anchors, and the pattern of names. The same schema is printed for editors,
//! checks structure, and answers for a place in a file what is wanted there ([`child`], [`alternative`]).

use std::sync::LazyLock;

use schemars::Schema;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Map, Value, json};

use super::tree::{Node, Path, Step, Value as Tree};
use super::{Config, tree};

/// What names look like. They end up in topic names, metric labels and file names, so they are kept plain.
pub(super) const NAME: &str = "^[a-z0-9][a-z0-9._-]{0,127}$";

static SCHEMA: LazyLock<Value> = LazyLock::new(generate);

/// The JSON Schema of a configuration file, for editors and for `wharf schema`.
#[must_use]
pub fn json_schema() -> Value {
    SCHEMA.clone()
}

/// The same without a copy.
pub(super) fn root() -> &'static Value {
    &SCHEMA
}

/// The schema of a map whose keys are names, for `#[schemars(schema_with = …)]`.
pub(super) fn names<T: schemars::JsonSchema>(generator: &mut schemars::SchemaGenerator) -> Schema {
    let value = generator.subschema_for::<T>();
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": value,
        "propertyNames": { "pattern": NAME }
    })
}

fn generate() -> Value {
    let mut schema = schemars::schema_for!(Config);
    RecursiveTransform(bound_integers).transform(&mut schema);
    schema.insert("title".to_owned(), json!("Wharf configuration"));
    schema.insert(
        "patternProperties".to_owned(),
        json!({ "^x-": { "description": "Ignored: a place for anchors." } }),
    );
    schema.to_value()
}

/// Says in a way that validators check how large a Rust integer is, and drops the formats that only Rust knows.
fn bound_integers(schema: &mut Schema) {
    let largest = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => Some(u32::MAX.into()),
        // More than any file can hold, as YAML integers are signed.
        Some("uint64") => Some(i64::MAX.into()),
        Some("double") => None,
        _ => return,
    };
    schema.remove("format");
    if let Some(largest) = largest
        && schema.get("maximum").is_none()
    {
        schema.insert("maximum".to_owned(), largest);
    }
}

/// Follows a `$ref`.
pub(super) fn resolve(schema: &'static Value) -> &'static Value {
    let target = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|target| target.strip_prefix('#'));
    match target.and_then(|pointer| root().pointer(pointer)) {
        Some(found) => resolve(found),
        None => schema,
    }
}

/// Whether the schema is of a secret.
pub(super) fn is_secret(schema: &Value) -> bool {
    schema.get("writeOnly").is_some_and(|flag| flag == true)
}

/// The alternatives of a schema that has some.
pub(super) fn alternatives(schema: &'static Value) -> &'static [Value] {
    let list = schema.get("anyOf").or_else(|| schema.get("oneOf"));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Which of the alternatives a node was meant to be: by its `type` key, else by being a map, a list, or a scalar.
pub(super) fn alternative(schema: &'static Value, node: &Node) -> Option<usize> {
    let fits = |one: &'static Value| {
        let one = resolve(one);
        let tag = one
            .pointer("/properties/type/const")
            .and_then(Value::as_str);
        match &node.value {
            Tree::Map(_) if tag.is_some() => {
                node.get("type")
                    .and_then(Node::scalar)
                    .map(|s| s.text.as_str())
                    == tag
            }
            Tree::Map(_) => accepts(one, "object"),
            Tree::List(_) => accepts(one, "array"),
            Tree::Scalar(scalar) if scalar.kind == tree::Kind::Null => accepts(one, "null"),
            Tree::Scalar(_) => ["string", "integer", "number", "boolean"]
                .iter()
                .any(|kind| accepts(one, kind)),
        }
    };
    alternatives(schema).iter().position(fits)
}

/// Whether a schema takes values of a JSON type, going by what it says about types.
pub(super) fn accepts(schema: &'static Value, kind: &str) -> bool {
    let schema = resolve(schema);
    match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(many)) => many.iter().any(|one| one == kind),
        _ => alternatives(schema).iter().any(|one| accepts(one, kind)),
    }
}

/// The schema that a node is held to, through references and alternatives.
pub(super) fn settle(schema: &'static Value, node: &Node) -> &'static Value {
    let schema = resolve(schema);
    if is_secret(schema) {
        return schema;
    }
    match alternative(schema, node).and_then(|index| alternatives(schema).get(index)) {
        Some(one) => settle(one, node),
        None => schema,
    }
}

/// The schema of what stands under a key of a map that is held to `schema`.
pub(super) fn child(schema: &'static Value, key: &str) -> Option<&'static Value> {
    if let Some(found) = properties(schema).and_then(|all| all.get(key)) {
        return Some(found);
    }
    if key.starts_with("x-")
        && let Some(found) = schema.pointer("/patternProperties/^x-")
    {
        return Some(found);
    }
    schema
        .get("additionalProperties")
        .filter(|value| value.is_object())
}

/// The keys that a map held to `schema` may have by name.
pub(super) fn properties(schema: &'static Value) -> Option<&'static Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The schema that the node at `path` is held to; references and alternatives of the last step are left as they are.
pub(super) fn at(path: &Path, tree: &Node) -> Option<&'static Value> {
    let mut schema = root();
    let mut node = Some(tree);
    for step in &path.0 {
        let here = node.map_or_else(|| resolve(schema), |node| settle(schema, node));
        schema = match step {
            Step::Key(key) => child(here, key)?,
            Step::Index(_) => here.get("items")?,
        };
        node = node.and_then(|node| node.at(&Path(vec![step.clone()])));
    }
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_plugins_have_the_same_keys() {
        let plugin = root()
            .pointer("/$defs/Plugin/properties")
            .and_then(Value::as_object)
            .unwrap();
        let defaults = root()
            .pointer("/$defs/Defaults/properties")
            .and_then(Value::as_object)
            .unwrap();
        for (key, schema) in defaults {
            assert_eq!(plugin.get(key), Some(schema), "{key}");
        }
        let own: Vec<_> = plugin
            .keys()
            .filter(|key| !defaults.contains_key(*key))
            .collect();
        assert_eq!(
            own,
            ["component", "digest", "grants", "publish", "subscribe"]
        );
    }

    #[test]
    fn every_key_says_what_it_is() {
        fn look(at: &str, schema: &Value, bare: &mut Vec<String>) {
            for (key, schema) in schema
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                if schema.get("description").is_none()
                    && key != "type"
                    && key != "file"
                    && key != "field"
                {
                    bare.push(format!("{at}.{key}"));
                }
                look(&format!("{at}.{key}"), schema, bare);
            }
            for (key, schema) in schema
                .get("$defs")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                look(key, schema, bare);
            }
            for schema in schema
                .get("oneOf")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                look(at, schema, bare);
            }
        }
        let mut bare = Vec::new();
        look("", root(), &mut bare);
        assert_eq!(bare, Vec::<String>::new());
    }

    #[test]
    fn it_is_a_schema() {
        assert!(jsonschema::meta::is_valid(root()));
    }
}
