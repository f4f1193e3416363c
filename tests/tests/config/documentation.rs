//! `docs/configuration.md` lists every key, default, range and unit. The list is made from the schema, so that it cannot
//! say anything else than the host does; `UPDATE_SNAPSHOTS=1` writes it again.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::snapshot;

const PAGE: &str = "../docs/configuration.md";
const BEGIN: &str = "<!-- keys: made from the schema by the config tests, do not edit -->";
const END: &str = "<!-- end of keys -->";

#[test]
fn the_list_of_keys_is_that_of_the_schema() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has lost its list of keys");
    let (_, after) = rest.split_once(END).expect("the list of keys has no end");
    let schema = wharf::config::json_schema();
    let page = format!("{before}{BEGIN}\n{}{END}{after}", tables(&schema));
    snapshot::compare(Path::new(PAGE), &page).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn the_examples_of_the_page_load() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    std::fs::write(folder.path().join("plugins/audit.wasm"), "(component)").unwrap();
    let examples: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|part| part.split("```").next())
        .collect();
    let whole: Vec<&&str> = examples
        .iter()
        .filter(|example| example.contains("version: 1"))
        .collect();
    assert!(!whole.is_empty());
    for example in whole {
        let path = folder.path().join("wharf.yaml");
        std::fs::write(&path, example).unwrap();
        if let Err(report) = wharf::config::load(&path, &|_| None) {
            panic!("{report}\nin\n{example}");
        }
    }
}

/// One table per map of the configuration, in the order in which they are met.
fn tables(schema: &Value) -> String {
    let mut text = String::new();
    table(schema, "", "The file", schema, &mut text);
    text
}

fn table(root: &Value, path: &str, title: &str, schema: &Value, out: &mut String) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let heading = if path.is_empty() {
        title.to_owned()
    } else {
        format!("`{path}`")
    };
    writeln!(
        out,
        "\n### {heading}\n\n| key | value | default | |\n|---|---|---|---|"
    )
    .unwrap();
    let mut inner = Vec::new();
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let default = if required.contains(&key.as_str()) {
            "required".to_owned()
        } else {
            default(value)
        };
        let description = value["description"]
            .as_str()
            .unwrap_or("The type of broker.")
            .replace('\n', " ");
        let below = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        // Plugins repeat what `defaults` has shown.
        let shown =
            path == "plugins.NAME" && root["$defs"]["Defaults"]["properties"].get(key).is_some();
        let shown = shown.then(|| "see [`defaults`](#defaults)".to_owned());
        writeln!(
            out,
            "| `{key}` | {} | {default} | {description} |",
            shown.unwrap_or_else(|| kind(root, value))
        )
        .unwrap();
        if !(path == "plugins.NAME" && root["$defs"]["Defaults"]["properties"].get(key).is_some()) {
            inner.push((below, value));
        }
    }
    for (path, value) in inner {
        descend(root, &path, value, out);
    }
}

fn descend(root: &Value, path: &str, value: &Value, out: &mut String) {
    let value = resolve(root, value);
    if value["writeOnly"] == true {
        return;
    }
    if value["additionalProperties"].is_object() {
        return descend(
            root,
            &format!("{path}.NAME"),
            &value["additionalProperties"],
            out,
        );
    }
    if value["properties"].is_object() {
        return table(root, path, "", value, out);
    }
    for one in value["oneOf"].as_array().into_iter().flatten() {
        if let Some(kind) = one["properties"]["type"]["const"].as_str() {
            table(root, &format!("{path} (type: {kind})"), "", one, out);
        }
    }
    for one in value["anyOf"].as_array().into_iter().flatten() {
        if one.get("$ref").is_some() {
            descend(root, path, one, out);
        }
    }
}

fn resolve<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"]
        .as_str()
        .and_then(|target| root.pointer(target.trim_start_matches('#')))
    {
        Some(found) => resolve(root, found),
        None => value,
    }
}

/// What a value looks like.
fn kind(root: &Value, value: &Value) -> String {
    let value = resolve(root, value);
    if value["writeOnly"] == true {
        return "secret".to_owned();
    }
    match value["format"].as_str() {
        Some("duration-with-unit") => return "duration".to_owned(),
        Some("byte-size") => return "size".to_owned(),
        Some("path") => return "path".to_owned(),
        Some("socket-address") => return "address".to_owned(),
        Some("digest") => return "digest".to_owned(),
        _ => {}
    }
    for alternatives in ["oneOf", "anyOf"] {
        if let Some(list) = value[alternatives].as_array() {
            let mut kinds: Vec<String> = list
                .iter()
                .map(|one| kind(root, one))
                .filter(|kind| !kind.is_empty())
                .collect();
            kinds.dedup();
            return kinds.join(", ");
        }
    }
    if let Some(word) = value["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some(words) = value["enum"].as_array() {
        let words: Vec<String> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    let types: Vec<&str> = match &value["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let words: Vec<String> = types
        .iter()
        .filter_map(|one| word(root, value, one))
        .collect();
    words.join(", ")
}

fn word(root: &Value, value: &Value, kind: &str) -> Option<String> {
    Some(match kind {
        "null" => return None,
        "object" if value["additionalProperties"].is_object() => "names".to_owned(),
        "object" => "map".to_owned(),
        "array" => format!("list of {}", self::kind(root, &value["items"])),
        "string" => "text".to_owned(),
        "boolean" => "`true`, `false`".to_owned(),
        "integer" | "number" => {
            let name = if kind == "integer" {
                "whole number"
            } else {
                "number"
            };
            match (value["minimum"].as_f64(), value["maximum"].as_f64()) {
                (Some(low), Some(high)) if high < f64::from(u32::MAX) => {
                    format!("{name}, {low} to {high}")
                }
                (Some(low), _) if low > 0.0 => format!("{name}, at least {low}"),
                _ => name.to_owned(),
            }
        }
        _ => return None,
    })
}

fn default(value: &Value) -> String {
    match &value["default"] {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        // The keys of a map have their own rows.
        Value::Object(_) => String::new(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        other => format!("`{other}`"),
    }
}
