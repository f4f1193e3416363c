//! What every file keeps to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lines a file may have without its tests.
const LONGEST: usize = 450;

/// Files that may be longer, by the end of their path, and why.
const LONG: &[(&str, &str)] = &[(
    "tests/tests/config/properties.rs",
    "one generator of configurations, and what must hold of each",
)];

/// All Rust files below a folder, sorted.
pub fn rust(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    walk(folder, &mut all);
    all.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    all.sort();
    assert!(!all.is_empty(), "{} has no Rust files", folder.display());
    all
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// Files that are too long, or called `mod.rs`.
pub fn violations(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in rust(folder) {
        let name = path.display();
        if path.ends_with("mod.rs") {
            found.push(format!(
                "{name}: a module `x` with parts is `x.rs` beside the folder `x`"
            ));
        }
        let lines = production_lines(&std::fs::read_to_string(&path).unwrap());
        let listed = LONG.iter().any(|(long, _why)| path.ends_with(long));
        if lines > LONGEST && !listed {
            found.push(format!("{name}: {lines} lines, at most {LONGEST}"));
        }
    }
    found
}

/// Lines of a file without the items that are there for tests only.
fn production_lines(text: &str) -> usize {
    let mut lines = text.lines();
    let mut count = 0;
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            count += 1;
            continue;
        }
        // The item is one line, or ends at the brace in the first column.
        let item = lines.find(|next| !next.starts_with("#[")).unwrap_or("");
        if !item.ends_with(';') && !item.ends_with('}') {
            lines.by_ref().find(|next| *next == "}");
        }
    }
    count
}

/// How two folders differ, by the names and bytes of their files.
pub fn unequal(one: &Path, other: &Path) -> Vec<String> {
    let read = |folder: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = Vec::new();
        walk(folder, &mut all);
        assert!(!all.is_empty(), "{} is empty", folder.display());
        all.into_iter()
            .map(|path| {
                let bytes = std::fs::read(&path).unwrap();
                (path.strip_prefix(folder).unwrap().to_owned(), bytes)
            })
            .collect()
    };
    let (one, other) = (read(one), read(other));
    let mut names: Vec<&PathBuf> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name))
        .map(|name| format!("{} differs or is in one of them only", name.display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::production_lines;

    #[test]
    fn tests_in_a_file_do_not_count() {
        let text = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod x {\n    c\n}\nd\n";
        assert_eq!(production_lines(text), 3);
    }
}
