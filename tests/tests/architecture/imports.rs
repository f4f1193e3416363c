//! Reads which room a file uses, from its `crate::…` paths and from `super::…` paths that climb to the crate.
//!
//! This is text, not Rust: comments are left out, strings are not. Paths in strings do not occur, and one that did
//! would be an error too many, never one too few.

use std::path::Path;

/// One use of something in the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Relative to the folder.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The room the file is in.
    pub room: String,
    /// The part of its room, where it has one: `redis` for `broker/redis/wire.rs`.
    pub part: Option<String>,
    /// What follows `crate::`, at most two names.
    pub path: Vec<String>,
}

/// What stands in `broker` and is no adapter: all of them may use it.
const SHARED: &[&str] = &["heard", "waiting"];

impl Edge {
    /// The room that is used.
    pub fn uses(&self) -> &str {
        &self.path[0]
    }

    /// Within `broker`, the other adapter that is used.
    pub fn other_adapter(&self) -> Option<&str> {
        let part = self.part.as_deref()?;
        let used = self.path.get(1)?;
        let shared = SHARED.contains(&used.as_str());
        (self.room == "broker" && used != part && !shared).then_some(used)
    }
}

/// All uses in all files of a folder.
pub fn of(src: &Path) -> Vec<Edge> {
    let mut edges = Vec::new();
    for path in super::files::rust(src) {
        let file = path.strip_prefix(src).unwrap();
        let mut module: Vec<String> = file
            .with_extension("")
            .components()
            .map(|c| c.as_os_str().to_string_lossy().into_owned())
            .collect();
        if module == ["lib"] || module == ["main"] {
            continue;
        }
        let depth = module.len();
        module.truncate(2);
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, used) in uses(&text, depth) {
            edges.push(Edge {
                file: file.display().to_string(),
                line,
                room: module[0].clone(),
                part: module.get(1).cloned(),
                path: used,
            });
        }
    }
    edges
}

/// The paths of one file whose module is `depth` below the crate, with their lines.
fn uses(text: &str, depth: usize) -> Vec<(usize, Vec<String>)> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        // `$crate::` and `my_crate::` are other words.
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        push(&code, at, &code[at + "crate::".len()..], &mut found);
    }
    let mut rest = 0;
    while let Some(found_at) = code[rest..].find("super::") {
        let at = rest + found_at;
        let mut end = at;
        let mut climbed = 0;
        while code[end..].starts_with("super::") {
            end += "super::".len();
            climbed += 1;
        }
        rest = end;
        if climbed >= depth + inline_modules(&code[..at]) {
            push(&code, at, &code[end..], &mut found);
        }
    }
    found
}

/// How many `mod x { … }` are open at the end of this text, by indentation as rustfmt has it.
fn inline_modules(before: &str) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut open: Vec<usize> = Vec::new();
    for line in before.lines() {
        let word = line.trim();
        if word == "}" && open.last() == Some(&indent(line)) {
            open.pop();
        }
        let declared = word.trim_start_matches("pub ").starts_with("mod ");
        if declared && word.ends_with('{') {
            open.push(indent(line));
        }
    }
    open.len()
}

fn push(code: &str, at: usize, after: &str, found: &mut Vec<(usize, Vec<String>)>) {
    let line = code[..at].matches('\n').count() + 1;
    for path in first_names(after) {
        found.push((line, path));
    }
}

/// The first two names of each path that begins here: `a::b::C` gives `a::b`, `{a::{b, c}, d}` gives `a::b`, `a::c`, `d`.
fn first_names(after: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for branch in branches(after) {
        let name: String = branch.chars().take_while(|c| ident(*c)).collect();
        if name.is_empty() {
            continue;
        }
        match branch[name.len()..].strip_prefix("::") {
            None => all.push(vec![name]),
            Some(second) => {
                for branch in branches(second) {
                    let second: String = branch.chars().take_while(|c| ident(*c)).collect();
                    all.push(vec![name.clone(), second]);
                }
            }
        }
    }
    all
}

fn ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text itself, or what stands between the commas of the group it begins with.
fn branches(text: &str) -> Vec<&str> {
    let Some(inner) = text.strip_prefix('{') else {
        return vec![text];
    };
    let (mut all, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                all.push(inner[from..at].trim_start());
                from = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    all
}

/// The text with its line comments emptied; lines keep their numbers.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let end = match line.find("//") {
            // Not the `//` of an address.
            Some(at) if !line[..at].ends_with(':') => at,
            _ => line.len(),
        };
        code.push_str(&line[..end]);
        code.push('\n');
    }
    code
}

#[cfg(test)]
mod tests {
    use super::uses;

    fn paths(text: &str, depth: usize) -> Vec<String> {
        uses(text, depth)
            .into_iter()
            .map(|(line, path)| format!("{line} {}", path.join("::")))
            .collect()
    }

    #[test]
    fn paths_are_found_wherever_they_stand() {
        let text = "//! crate::comment\nuse crate::a::b::C;\nuse crate::{\n    d,\n    e::{F, g::H},\n};\n\
                    fn f(x: &crate::i::J) {} // crate::k\nlet y = $crate::l;\nuse my_crate::m;\n";
        assert_eq!(
            paths(text, 2),
            ["2 a::b", "3 d", "3 e::F", "3 e::g", "7 i::J"]
        );
    }

    #[test]
    fn climbing_out_of_a_room_is_a_use_and_climbing_within_it_is_not() {
        let text = "use super::x;\nuse super::super::y::Z;\nmod tests {\n    use super::super::x;\n    use super::super::super::w;\n}\n\
                    use super::super::v;\n";
        assert_eq!(paths(text, 2), ["2 y::Z", "5 w", "7 v"]);
    }
}
